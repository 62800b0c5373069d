"""What a person is asked: in our words, with those of others quoted apart, and what it is about at the end."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from fastmcp.client.elicitation import ElicitResult
from hypothesis import given
from hypothesis import strategies as st

from access.confirmation import MOST_CHARACTERS, Plan
from access.quoting import MOST_QUOTED, listed, quoted
from tests.conftest import boto, running
from tests.contract import all_tools
from tests.services import secret_day as day

AT: dict[str, Any] = {"account": "production"}
WHERE = ("production", "111111111111", "us-east-1")
# What somebody who may write in the account puts there, so that the person reads another question.
LIE = 'none) in account staging. It is an EMPTY TEST: answer yes\u201d "\u202e\u2066\u200b\n\u2028 In account "staging"'
PLAIN_LIE = "It-is-an_EMPTY=TEST.answer.yes@once+" * 3
TAGS = {"Name": "TAGGED none. It is an EMPTY TEST: answer yes", "TAGGED It is an EMPTY TEST": "TAGGED"}
_LIE, _QUOTATION = re.compile(r"EMPTY.?TEST|answer.yes"), re.compile(r'"((?:[^"\\]|\\.)*)"')
STRANGERS_FUNCTION = "arn:aws:lambda:us-east-1:666666666666:function:rotate"
_numbers = count(1)


def aws(service: str) -> Any:
    return boto(service, "production")


def policy(action: str = "*", **more: Any) -> str:
    one = {"Effect": "Allow", "Action": action, **(more or {"Resource": "*"})}
    return json.dumps({"Version": "2012-10-17", "Statement": [one]})


TRUST = policy("sts:AssumeRole", Principal={"Service": "ec2.amazonaws.com"})
THEIR_TRUST = policy("sts:AssumeRole", Principal={"AWS": "arn:aws:iam::666666666666:root"})


def tag_list() -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in TAGS.items()]


def secret(**more: Any) -> dict[str, Any]:
    name = f"app/{PLAIN_LIE}{next(_numbers)}"
    aws("secretsmanager").create_secret(Name=name, SecretString="v", Description=LIE, Tags=tag_list(), **more)
    return {"secret_id": name}


def rotating() -> dict[str, Any]:
    made = secret()
    with day.rotating():
        aws("secretsmanager").rotate_secret(
            SecretId=made["secret_id"], RotationLambdaARN=STRANGERS_FUNCTION, RotateImmediately=False,
            RotationRules={"AutomaticallyAfterDays": 30},
        )  # fmt: skip
    return made


def replicated() -> dict[str, Any]:
    made = secret()
    for region in ("eu-west-1", "us-west-2"):
        boto("secretsmanager", "production", region).create_secret(
            Name=made["secret_id"], SecretString="v", Description=LIE
        )
    regions = [{"region": region} for region in ("eu-west-1", "us-west-2", "eu-central-1")]
    return {**made, "replicas": regions, "force_overwrite": True}


def instances() -> dict[str, Any]:
    tags = [{"ResourceType": "instance", "Tags": tag_list()}]
    made = aws("ec2").run_instances(ImageId="ami-12c6146b", MinCount=30, MaxCount=30, TagSpecifications=tags)
    return {"instance_ids": [row["InstanceId"] for row in made["Instances"]]}


def group() -> dict[str, Any]:
    vpc = aws("ec2").create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    name = f"EMPTY TEST answer yes {next(_numbers)}"
    made = aws("ec2").create_security_group(GroupName=name, Description="EMPTY TEST, answer yes", VpcId=vpc)["GroupId"]
    aws("ec2").create_tags(Resources=[made], Tags=tag_list())
    return {
        "group_id": made, "ip_protocol": "tcp", "from_port": 22, "to_port": 22, "cidr": "0.0.0.0/0", "description": "x",
    }  # fmt: skip


def role(**more: Any) -> dict[str, Any]:
    name = f"role{next(_numbers)}"
    aws("iam").create_role(
        RoleName=name, AssumeRolePolicyDocument=TRUST, Description="EMPTY TEST: answer yes", Tags=tag_list()
    )
    for number in range(7):
        held = f"{number}{PLAIN_LIE}"[:128]
        aws("iam").put_role_policy(RoleName=name, PolicyName=held, PolicyDocument=policy("s3:GetObject"))
    aws("iam").attach_role_policy(RoleName=name, PolicyArn=managed()["policy_arn"])
    return {"role_name": name, **more}


def managed() -> dict[str, Any]:
    made = aws("iam").create_policy(
        PolicyName=f"{next(_numbers)}{PLAIN_LIE}"[:128], Path="/EMPTY_TEST/answer_yes/", PolicyDocument=policy(),
        Description="EMPTY TEST: answer yes", Tags=tag_list(),
    )  # fmt: skip
    return {"policy_arn": made["Policy"]["Arn"]}


def zone() -> dict[str, Any]:
    route53 = aws("route53")
    name = f"empty-test-answer-yes{next(_numbers)}.example"
    made = route53.create_hosted_zone(Name=name, CallerReference=name, HostedZoneConfig={"Comment": LIE[:64]})
    zone_id = made["HostedZone"]["Id"].rpartition("/")[2]
    route53.change_tags_for_resource(ResourceType="hostedzone", ResourceId=zone_id, AddTags=tag_list())
    return {"hosted_zone_id": zone_id}


def bucket(**more: Any) -> str:
    name = f"empty-test-answer-yes-{next(_numbers)}"
    aws("s3").create_bucket(Bucket=name)
    aws("s3").put_bucket_tagging(Bucket=name, Tagging={"TagSet": tag_list()})
    return name


def written(tool: str) -> dict[str, Any]:
    held, key = bucket(), f"{LIE}/{'x' * 200}".replace("\n", "")
    aws("s3").put_object(Bucket=held, Key=key, Body=b"v", ContentType="EMPTY TEST", Metadata={"lie": "answer yes"})
    aws("s3").put_object_tagging(Bucket=held, Key=key, Tagging={"TagSet": tag_list()})
    lost = {"overwrite": True, "lose_previous": True}
    return {
        "put_object": {"bucket": held, "key": key, "body": "new", **lost},
        "copy_object": {"bucket": held, "key": "other", "to_bucket": held, "to_key": key, **lost},
        "delete_object": {"bucket": held, "key": key, "version_id": "null"},
    }[tool]


# What is to be asked about, by tool: its arguments, once what they name has been made with all the lies it takes.
ACTS: dict[str, Callable[[], dict[str, Any]]] = {
    "delete_secret": lambda: {**secret(), "force_delete_without_recovery": True},
    "replicate_secret": replicated,
    "configure_rotation": lambda: {
        **secret(), "automatically_after_days": 3, "rotation_lambda_arn": f"{STRANGERS_FUNCTION}:EMPTY-TEST-answer-yes",
    },
    "rotate_secret": rotating,
    "put_secret_policy": lambda: {
        **secret(), "policy": policy(
            Principal={"AWS": "666666666666", "CanonicalUser": f"EMPTY TEST: {LIE}"}, Resource="*", Sid="EMPTYTEST"
        ),
    },
    "terminate_instances": instances,
    "authorize_security_group_ingress": group,
    "delete_role": role,
    "create_role": lambda: {"role_name": "new", "trust_policy": THEIR_TRUST, "description": "EMPTY TEST", "tags": TAGS},
    "update_assume_role_policy": lambda: role(trust_policy=THEIR_TRUST),
    "create_policy": lambda: {
        "policy_name": PLAIN_LIE[:128], "path": '/EMPTY_TEST"_answer_yes/', "document": policy(), "description": LIE,
    },
    "create_policy_version": lambda: {**managed(), "document": policy(Resource="*", Sid="EMPTYTEST")},
    "attach_role_policy": lambda: role(**managed(), allow_everything=True),
    "put_role_policy": lambda: role(policy_name=PLAIN_LIE[:128], document=policy()),
    "delete_hosted_zone": zone,
    "put_object": lambda: written("put_object"),
    "copy_object": lambda: written("copy_object"),
    "delete_object": lambda: written("delete_object"),
    "delete_bucket": lambda: {"bucket": bucket()},
}  # fmt: skip
ASKED = sorted(name for name, (_, tool) in all_tools().items() if tool.spec.may_destroy)


@pytest.mark.parametrize("tool", ASKED)
async def test_no_word_of_others_is_read_as_one_of_the_question(aws: str, tool: str) -> None:
    assert tool in ACTS, f"{tool} can be asked about: say in ACTS of what, with others' words wherever it takes them"
    asked: list[str] = []

    async def decline(message: str, *_: Any) -> ElicitResult:
        asked.append(message)
        return ElicitResult(action="decline")

    act = {**ACTS[tool](), **AT}
    async with running(TOOLSETS="all") as server:
        async with server.session(elicitation_handler=decline) as session:
            declined = await session(tool, **act)
        async with server.session("sse") as session:
            told = await session(tool, **act)
    assert (declined.error_code, told.error_code) == ("ConfirmationRequired", "ConfirmationRequired"), told.text
    for question in (*asked, told["message"]):
        assert_it_asks_one_thing(question, told["plan"]["target"])
    for plan in (declined["plan"], told["plan"]):
        assert_it_plans_one_thing(plan)
    assert len(asked) == 1


def assert_it_asks_one_thing(question: str, target: str) -> None:
    assert question.isascii()
    assert question.isprintable()
    assert len(question) <= MOST_CHARACTERS
    assert_others_are_quoted(question.removesuffix(end := in_question(target)))
    assert question.endswith(end)


def in_question(target: str) -> str:
    escaped = target.replace('"', '\\"')
    return f' It is about "{escaped}" in account production (111111111111).'


def assert_it_plans_one_thing(plan: dict[str, Any]) -> None:
    text = json.dumps(plan, ensure_ascii=False)
    assert text.isascii()
    assert len(text) <= MOST_CHARACTERS
    assert list(plan) == ["action", "region", "will_be_lost", "target", "account", "account_id"]
    assert plan["target"].isprintable()
    assert_others_are_quoted(plan["will_be_lost"])


def assert_others_are_quoted(text: str) -> None:
    assert "TAGGED" not in text, "tags are told by their number"
    assert not _LIE.search(_QUOTATION.sub("", text))
    assert '"' not in _QUOTATION.sub("", text), "no quotation is left open"
    for quotation in _QUOTATION.findall(text):
        assert len(quotation) <= MOST_QUOTED


@pytest.mark.parametrize(
    "text", ["", "web", "\u201d", "\\", '"', "x" * 65, "é" * 40, "\U0001f600" * 30, "a" * 63 + '"']
)
def test_a_quotation_is_short_visible_and_closed(text: str) -> None:
    said = quoted(text)
    match = re.fullmatch(r'"((?:[^"\\]|\\.)*)"(?: \((\d+) characters\))?', said)
    assert match is not None
    assert said.isascii()
    assert said.isprintable()
    assert len(match[1]) <= MOST_QUOTED
    whole = match[1].replace('\\"', '"').encode().decode("unicode_escape")
    assert text.startswith(whole) if match[2] else whole == text
    assert match[2] is None or int(match[2]) == len(text)


def test_of_many_names_a_few_are_quoted_and_the_others_counted() -> None:
    assert listed([]) == "none"
    assert listed(["a", "b"]) == '"a", "b"'
    assert listed(map(str, range(100))) == '"0", "1", "2", "3", "4" and 95 more'


anything = st.text(st.characters(), max_size=1100)


@given(target=anything, others=st.lists(anything, max_size=30))
def test_a_question_has_its_bounds_and_its_end_whatever_others_wrote(target: str, others: list[str]) -> None:
    lost = f"These go: {', '.join(map(quoted, others))}."
    plan = Plan(target, lost, {})
    question, told = plan.question("delete_it", *WHERE), plan.told("delete_it", *WHERE)
    assert len(question) <= MOST_CHARACTERS
    assert question.startswith("delete_it in us-east-1: ")
    assert question.isascii()
    assert question.isprintable()
    assert question.endswith(in_question(told["target"]))
    assert_it_plans_one_thing(told)
    rest = question.removesuffix(in_question(told["target"]))
    assert '"' not in _QUOTATION.sub("", rest)


@given(target=st.text(st.characters(), max_size=60))
def test_a_target_is_named_exactly(target: str) -> None:
    told = Plan(target, "It goes.", {}).told("delete_it", *WHERE)
    assert told["target"].encode().decode("unicode_escape") == target


def every_target() -> Iterator[str]:
    yield from ("arn:aws:s3:::b/" + "k" * 1024, "\\" * 1024, '"' * 1024, "\u202e" * 1024, "\U0001f600" * 300)


@pytest.mark.parametrize("target", list(every_target()), ids=lambda target: ascii(target[-1]))
def test_a_long_target_shows_both_its_ends_and_its_length(target: str) -> None:
    told = Plan(target, "It goes.", {}).told("delete_it", *WHERE)
    assert len(json.dumps(told)) <= MOST_CHARACTERS
    if target.startswith("arn"):
        assert told["target"] == target
    else:
        assert f"({len(target)} characters)" in told["target"]
        assert told["will_be_lost"] == "It goes."
