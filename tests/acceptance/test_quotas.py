"""Quotas are looked at before the first thing is made; what may not be looked at is a note."""

from typing import Any

import main
import pytest
import quotas
import sandbox
from account import Account, Refused, sign_in
from botocore.exceptions import ClientError
from clock import Clock
from test_sandbox import SPEED, nothing_in


class Allows:
    """In the place of Service Quotas: the same value for each quota, or a refusal."""

    def __init__(self, account: Account, value: float | None) -> None:
        self.account, self.value = account, value

    def private(self, service: str) -> Any:
        return self if service == "service-quotas" else self.account.session.client(service)

    def get_service_quota(self, **_: str) -> dict[str, Any]:
        if self.value is None:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "not authorized"}}, "GetServiceQuota")
        return {"Quota": {"Value": self.value}}


def look(account: Account, monkeypatch: pytest.MonkeyPatch, value: float | None) -> list[str]:
    monkeypatch.setattr(account, "private", Allows(account, value).private)
    said: list[str] = []
    quotas.refuse_beyond_quotas(account, said.append)
    return said


def test_a_quota_that_does_not_suffice_is_named_with_what_to_do(moto: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refused) as refused:
        look(moto, monkeypatch, 1)
    sentence = str(refused.value)
    for words in ('"VPCs per Region" (L-F678F1CE)', "123456789012 in us-east-1 is 1, of which 1 are used", "needs 1", "--region", "quotas/L-F678F1CE"):
        assert words in sentence, sentence


def test_quotas_that_suffice_are_not_worth_a_word(moto: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    assert look(moto, monkeypatch, 6) == []


@pytest.mark.parametrize("number", range(1, len(quotas.QUOTAS)))
def test_each_quota_is_counted_and_compared(moto: Account, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    quota = quotas.QUOTAS[number]
    monkeypatch.setattr(quotas, "QUOTAS", [quota])
    assert look(moto, monkeypatch, quota.needed) == []
    with pytest.raises(Refused, match=quota.code):
        look(moto, monkeypatch, quota.needed - 1)


def test_a_missing_permission_is_a_note_and_no_refusal(moto: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    said = look(moto, monkeypatch, None)
    assert len(said) == len(quotas.QUOTAS) and all("AccessDeniedException" in note and "goes on" in note for note in said)


def test_only_instances_of_the_same_quota_are_counted() -> None:
    counted = ("t4g.nano", "t3.nano", "m7i.large", "im4gn.large", "is4gen.large", "d3en.xlarge", "z1d.large")
    others = ("p5.48xlarge", "inf2.xlarge", "g6.xlarge", "dl1.24xlarge", "trn1.2xlarge", "mac2.metal", "hpc7a.96xlarge", "x2idn.large", "vt1.3xlarge")
    assert all(quotas.STANDARD.match(one) for one in counted) and not any(quotas.STANDARD.match(one) for one in others)
    assert (quotas.vcpus_of({"CoreCount": 2, "ThreadsPerCore": 2}), quotas.vcpus_of({})) == (4, 1)


def test_a_full_account_is_refused_before_anything_is_made(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with sandbox.sandbox(SPEED) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        account = sign_in(None, None, Clock(SPEED))
        made = [account.private("ec2").create_vpc(CidrBlock=f"10.{number}.0.0/24")["Vpc"]["VpcId"] for number in range(5)]
        assert main.main(["--aws", "--stack", sandbox.STACK, "--yes"]) == main.REFUSES
        assert "is 5, of which 5 are used" in capsys.readouterr().err
        for id in made:
            account.private("ec2").delete_vpc(VpcId=id)
        assert nothing_in(account)
