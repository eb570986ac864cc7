"""CloudFormation: the stack that the sandbox has deployed."""

import pytest

from clients import refused


@pytest.mark.deployed
def test_the_deployed_stack_tells_its_parameters_and_outputs(aws):
    [stack] = aws.cloudformation.describe_stacks(StackName="elb-registrar")["Stacks"]
    parameters = {one["ParameterKey"]: one["ParameterValue"] for one in stack["Parameters"]}
    outputs = {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}
    assert (parameters["Mode"], outputs["LifecycleHookPrefix"]) == ("enforce", "elb-registrar")
    with refused("ValidationError"):
        aws.cloudformation.describe_stacks(StackName="another")
