"""What goes into a recording, and what two of them are compared by."""

import datetime
import json
import re
from pathlib import Path

import compare
import pytest
import recording
from account import Account
from names import Names
from stack import ROOT


def scrubbed(text: str) -> str:
    return str(recording.Scrubber("111122223333").value(text))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("111122223333", "123456789012"),
        ("arn:aws:elasticloadbalancing:eu-west-1:111122223333:targetgroup/web/0a1b", "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/0a1b"),
        ("arn:aws:iam::111122223333:user/alice.miller", "arn:aws:iam::123456789012:removed"),
        ("arn:aws:sts::111122223333:assumed-role/Admin/alice@example.com", "arn:aws:sts::123456789012:removed"),
        ("by arn:aws-cn:sts::111122223333:assumed-role/Admin/alice, today", "by arn:aws:sts::123456789012:removed, today"),
        ("owned by 137112412989", "owned by 000000000001"),
        ("i-0123456789012345", "i-0123456789012345"),
        ("8080", "8080"),
    ],
)
def test_a_text_tells_no_account_and_no_principal(text: str, shown: str) -> None:
    assert scrubbed(text) == shown


def test_an_account_is_always_replaced_by_the_same(tmp_path: Path) -> None:
    scrubber = recording.Scrubber("111122223333")
    value = {"OwnerId": "137112412989", "Other": ["222233334444", "137112412989"], "At": datetime.datetime(2026, 1, 5, 8, 0)}
    shown = {"OwnerId": "000000000001", "Other": ["000000000002", "000000000001"], "At": "2026-01-05T08:00:00"}
    assert scrubber.value(value) == shown


def test_calls_are_kept_with_parameters_answers_and_errors(moto: Account, tmp_path: Path) -> None:
    made = moto.ec2.create_vpc(CidrBlock="10.0.0.0/24", TagSpecifications=Names("0a0a0a0a").specification("vpc"))
    for _ in range(3):
        moto.ec2.describe_vpcs(VpcIds=[made["Vpc"]["VpcId"]])
    with pytest.raises(moto.ec2.exceptions.ClientError):
        moto.ec2.delete_vpc(VpcId="vpc-00000000000000000")
    moto.cloudformation.describe_stacks()
    moto.recorder.save(tmp_path)
    kept = recording.load(tmp_path)
    assert set(kept) == {"ec2.CreateVpc", "ec2.DescribeVpcs", "ec2.DeleteVpc"}
    [described] = kept["ec2.DescribeVpcs"]
    assert (described["times"], described["parameters"]) == (3, {"VpcIds": [made["Vpc"]["VpcId"]]})
    assert kept["ec2.DeleteVpc"][0]["error"]["Code"] == "InvalidVpcID.NotFound"
    assert "ResponseMetadata" not in json.dumps(kept)


def calls(*answers: object) -> list[dict[str, object]]:
    return [{"answer": answer} for answer in answers]


@pytest.mark.parametrize(
    ("aws", "sandbox", "found"),
    [
        (calls({"A": 1}), calls({"A": 2}), []),
        (calls({"A": 1, "B": "x"}), calls({"A": 2}), ["B: only AWS has it"]),
        (calls({"A": 1}), calls({"A": 2, "B": "x"}), ["B: only the sandbox has it"]),
        (calls({"A": 1}), calls({"A": "1"}), ["A: int in AWS, str in the sandbox"]),
        (calls({"Tags": [{"Key": "k"}]}), calls({"Tags": []}), []),
        (calls({"Tags": []}), calls({"Tags": [{"Key": "k"}]}), []),
        (calls({"Tags": []}), calls({}), ["Tags[]: only AWS has it"]),
        (calls({"List": [{"A": 1}, {"B": [{"C": "x"}]}]}), calls({"List": [{"A": 1}]}), ["List[].B[].C: only AWS has it"]),
        (calls({"A": 1}), calls({"B": 1}, {"A": 1}), ["B: only the sandbox has it"]),
        ([{"error": {"Code": "Slow"}}], calls({}), ["error Slow: only AWS has it"]),
    ],
)
def test_differences_are_of_shape_and_not_of_value(aws: compare.Calls, sandbox: compare.Calls, found: list[str]) -> None:
    assert [sentence for _, sentence in compare.differences({"ec2.X": aws}, {"ec2.X": sandbox})] == found


def test_an_operation_that_only_one_has_is_a_difference() -> None:
    found = list(compare.differences({"ec2.X": [], "ec2.Y": []}, {"ec2.X": []}))
    assert found == [("ec2.Y", "(all): only AWS was asked")]


def test_a_known_difference_is_left_out() -> None:
    known = [{"operation": "ec2.Describe*", "fields": ["Vpcs[].*"], "reason": "x"}]
    assert compare.is_allowed("ec2.DescribeVpcs", "Vpcs[].DhcpOptionsId: only AWS has it", known)
    assert not compare.is_allowed("ec2.DescribeVpcs", "Vpcs: only AWS has it", known)
    assert not compare.is_allowed("ec2.CreateVpc", "Vpcs[].DhcpOptionsId: only AWS has it", known)


def test_each_known_difference_has_a_reason() -> None:
    assert all(set(one) == {"operation", "fields", "reason"} and one["reason"] for one in compare.allowed())


def test_no_function_reads_a_field_that_may_be_different() -> None:
    """The SDK reads `DhcpOptionsId` by `dhcp_options_id()`."""
    fields = [field for one in compare.allowed() for field in one["fields"] if not field.startswith("error ")]
    names = {re.sub(r"[^A-Za-z0-9]", "", field.removesuffix(".*").split(".")[-1]) for field in fields}
    readers = {re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower() for name in names}
    sources = "".join(file.read_text() for file in (ROOT / "functions").rglob("*.rs"))
    assert {"dhcp_options_id", "usage_operation", "mac_address"} <= readers and "describe_target_health" in sources
    assert not [reader for reader in readers if re.search(rf"\b{reader}\b", sources)]


def test_the_report_fails_on_a_new_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, answer in [("aws", {"A": 1, "B": 1}), ("sandbox", {"A": 1})]:
        (tmp_path / name / "recording").mkdir(parents=True)
        (tmp_path / name / "recording" / "ec2.X.json").write_text(json.dumps(calls(answer)))
    assert compare.report(tmp_path / "aws", tmp_path / "sandbox" / "recording") == 1
    assert "ec2.X  B: only AWS has it" in capsys.readouterr().out
    assert compare.report(tmp_path / "aws", tmp_path / "aws") == 0
