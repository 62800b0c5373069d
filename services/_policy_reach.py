"""What a permissions policy gives whoever has it, judged by what all that it allows reaches, however it is spelled.

Conditions and denials are not looked at: they hold back some of it, and what is left is for a person to judge.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_testing-policies.html
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from services._policy_globs import OTHER, REST, RUN, Globs
from services._policy_grammar import Policy, listed

# Names as people give them. A policy that reaches half of them was not written for some of a service's resources.
_NAMES = (
    "alpha/database", "billing-api-key", "customer/portal", "dev/payments/token", "email-service", "frontend",
    "github-token", "hooks/slack", "internal_admin", "jenkins", "kafka/broker", "ldap.bind", "monitoring",
    "network-vpn", "orders/db/password", "prod/orders/mysql", "queue-worker", "reporting", "staging/app", "terraform",
    "user-pool", "vault-root", "warehouse/redshift", "xray", "yarn-registry", "zendesk", "Acme/ERP", "Backup",
    "DataLake", "Gateway", "Mobile", "Platform/ci", "Sandbox", "1password", "2fa-seed", "7zip",
)  # fmt: skip
_FLAT_NAMES = tuple(name.replace("/", "-").replace("_", "-").lower() for name in _NAMES)
_IDS = tuple(f"{first}{second}5c41b7" for first in "0123456789abcdef" for second in "3c")


@dataclass(frozen=True)
class _Kind:
    """A kind of resource: how its ARNs begin and end, and names of several of them."""

    stem: str
    names: Sequence[str] = _NAMES
    end: str = ""
    own: bool = False  # whether one's own, named by ${aws:username}, is named whole: its keys give nobody more power

    def arn(self, name: str) -> str:
        return f"{self.stem}{name}{self.end}"

    @property
    def unheard_of(self) -> str:
        """One that nobody names: only a wildcard fits it."""
        return self.arn(OTHER * 6)


def _kind(service: str, resource: str, **more: Any) -> _Kind:
    return _Kind(f"arn:{RUN}:{service}:{RUN}:{RUN}:{resource}", **more)


def _of_iam(resource: str, **more: Any) -> _Kind:
    return _Kind(f"arn:{RUN}:iam::{RUN}:{resource}/", **more)


_ROLE, _USER, _GROUP, _POLICY = map(_of_iam, ("role", "user", "group", "policy"))
_USERS_KEY = _of_iam("user", own=True)
# One action each of services that no narrow policy has together.
_PROBES = {
    "ec2:TerminateInstances": _kind("ec2", "instance/i-", names=_IDS),
    "s3:DeleteBucket": _Kind(f"arn:{RUN}:s3:::", names=_FLAT_NAMES),
    "kms:ScheduleKeyDeletion": _kind("kms", "key/", names=_IDS, end="-8a2e-4c1f-9d3b-5e7a1c2f4b60"),
    "sts:AssumeRole": _ROLE,
    "rds:DeleteDBCluster": _kind("rds", "cluster:", names=_FLAT_NAMES),
}
_MOST_PROBES = 1
# Allowed by what lists what is not allowed alone.
_UNHEARD_OF_ACTION, _UNHEARD_OF_ARN = f"{OTHER}:{OTHER}", f"arn:{':'.join(OTHER * 5)}"
_MORE_POWER: Mapping[_Kind, tuple[str, ...]] = {
    _ROLE: (
        "iam:PutRolePolicy", "iam:AttachRolePolicy", "iam:UpdateAssumeRolePolicy", "iam:PutRolePermissionsBoundary",
        "iam:DeleteRolePermissionsBoundary",
    ),
    _USER: (
        "iam:PutUserPolicy", "iam:AttachUserPolicy", "iam:PutUserPermissionsBoundary",
        "iam:DeleteUserPermissionsBoundary",
    ),
    _USERS_KEY: (
        "iam:CreateAccessKey", "iam:CreateLoginProfile", "iam:UpdateLoginProfile",
        "iam:CreateServiceSpecificCredential", "iam:ResetServiceSpecificCredential", "iam:UploadSSHPublicKey",
        "iam:UploadSigningCertificate",
    ),
    _GROUP: ("iam:PutGroupPolicy", "iam:AttachGroupPolicy", "iam:AddUserToGroup"),
    _POLICY: ("iam:CreatePolicyVersion", "iam:SetDefaultPolicyVersion"),
    _of_iam("saml-provider"): ("iam:UpdateSAMLProvider",),
    _of_iam("oidc-provider"): ("iam:AddClientIDToOpenIDConnectProvider", "iam:UpdateOpenIDConnectProviderThumbprint"),
    _Kind(f"arn:{RUN}:iam::{RUN}:root"): ("sts:AssumeRoot",),
    _Kind(f"arn:{RUN}:sso:"): (
        "sso:CreateAccountAssignment", "sso:AttachManagedPolicyToPermissionSet", "sso:PutInlinePolicyToPermissionSet",
        "sso:AttachCustomerManagedPolicyReferenceToPermissionSet", "sso:DeletePermissionsBoundaryFromPermissionSet",
    ),
    _Kind(f"arn:{RUN}:identitystore:"): ("identitystore:CreateGroupMembership",),
}  # fmt: skip
# What takes a role and runs something as it.
_RUNS = (
    "airflow:CreateEnvironment", "airflow:UpdateEnvironment", "amplify:CreateApp", "amplify:UpdateApp",
    "apprunner:CreateService", "apprunner:UpdateService", "appstream:CreateFleet", "appstream:CreateImageBuilder",
    "appsync:CreateDataSource", "appsync:UpdateDataSource", "autoscaling:CreateAutoScalingGroup",
    "autoscaling:CreateLaunchConfiguration", "autoscaling:UpdateAutoScalingGroup", "batch:CreateComputeEnvironment",
    "batch:RegisterJobDefinition", "batch:SubmitJob", "bedrock-agentcore:CreateAgentRuntime",
    "bedrock-agentcore:CreateBrowser", "bedrock-agentcore:CreateCodeInterpreter", "bedrock-agentcore:CreateGateway",
    "bedrock-agentcore:UpdateAgentRuntime", "bedrock:CreateAgent", "bedrock:CreateFlow", "bedrock:UpdateAgent",
    "braket:CreateJob", "cloud9:CreateEnvironmentEC2", "cloudformation:ActivateType", "cloudformation:CreateChangeSet",
    "cloudformation:CreateStack", "cloudformation:CreateStackInstances", "cloudformation:CreateStackSet",
    "cloudformation:RegisterType", "cloudformation:UpdateStack", "cloudformation:UpdateStackSet",
    "codebuild:CreateFleet", "codebuild:CreateProject", "codebuild:StartBuild", "codebuild:StartBuildBatch",
    "codebuild:UpdateProject", "codedeploy:CreateDeploymentGroup", "codedeploy:UpdateDeploymentGroup",
    "codepipeline:CreatePipeline", "codepipeline:UpdatePipeline", "codestar:CreateProject",
    "cognito-identity:SetIdentityPoolRoles", "config:PutRemediationConfigurations", "databrew:CreateProfileJob",
    "databrew:CreateRecipeJob", "datapipeline:CreatePipeline", "datapipeline:PutPipelineDefinition",
    "deadline:CreateFleet", "deadline:CreateQueue", "ec2:AssociateIamInstanceProfile", "ec2:CreateFleet",
    "ec2:ReplaceIamInstanceProfileAssociation", "ec2:RequestSpotFleet", "ec2:RequestSpotInstances", "ec2:RunInstances",
    "ecs:CreateService", "ecs:CreateTaskSet", "ecs:RegisterTaskDefinition", "ecs:RunTask", "ecs:StartTask",
    "ecs:UpdateService", "eks:CreateAddon", "eks:CreateCluster", "eks:CreateFargateProfile", "eks:CreateNodegroup",
    "eks:CreatePodIdentityAssociation", "eks:UpdateAddon", "eks:UpdatePodIdentityAssociation",
    "elasticbeanstalk:CreateConfigurationTemplate", "elasticbeanstalk:CreateEnvironment",
    "elasticbeanstalk:UpdateEnvironment", "elasticmapreduce:AddJobFlowSteps", "elasticmapreduce:RunJobFlow",
    "elasticmapreduce:StartNotebookExecution", "emr-containers:StartJobRun", "emr-serverless:StartJobRun",
    "events:PutRule", "events:PutTargets", "fis:CreateExperimentTemplate", "gamelift:CreateBuild",
    "gamelift:CreateContainerFleet", "gamelift:CreateFleet", "glue:CreateCrawler", "glue:CreateDevEndpoint",
    "glue:CreateJob", "glue:CreateMLTransform", "glue:CreateSession", "glue:UpdateDevEndpoint", "glue:UpdateJob",
    "iam:AddRoleToInstanceProfile", "imagebuilder:CreateInfrastructureConfiguration", "iot:CreateRoleAlias",
    "iot:CreateTopicRule", "kinesisanalytics:CreateApplication", "kinesisanalytics:UpdateApplication",
    "lambda:CreateFunction", "lambda:UpdateFunctionCode", "lambda:UpdateFunctionConfiguration", "omics:StartRun",
    "opsworks:CreateStack", "pipes:CreatePipe", "pipes:UpdatePipe", "robomaker:CreateSimulationJob",
    "rolesanywhere:CreateProfile", "rolesanywhere:UpdateProfile", "sagemaker:CreateAutoMLJob",
    "sagemaker:CreateAutoMLJobV2", "sagemaker:CreateCluster", "sagemaker:CreateDomain",
    "sagemaker:CreateFlowDefinition", "sagemaker:CreateHyperParameterTuningJob", "sagemaker:CreateLabelingJob",
    "sagemaker:CreateModel", "sagemaker:CreateMonitoringSchedule", "sagemaker:CreateNotebookInstance",
    "sagemaker:CreatePipeline", "sagemaker:CreateProcessingJob", "sagemaker:CreateTrainingJob",
    "sagemaker:CreateUserProfile", "sagemaker:UpdateDomain", "sagemaker:UpdateNotebookInstance",
    "sagemaker:UpdatePipeline", "sagemaker:UpdateUserProfile", "scheduler:CreateSchedule", "scheduler:UpdateSchedule",
    "servicecatalog:CreateConstraint", "ssm:CreateActivation", "ssm:CreateAssociation",
    "ssm:RegisterTaskWithMaintenanceWindow", "ssm:SendCommand", "ssm:StartAutomationExecution",
    "ssm:UpdateAssociation", "ssm:UpdateMaintenanceWindowTask", "states:CreateStateMachine",
    "states:UpdateStateMachine", "synthetics:CreateCanary", "synthetics:UpdateCanary", "transfer:CreateUser",
    "transfer:UpdateUser",
)  # fmt: skip
_SECRET = _kind("secretsmanager", "secret:", end="-AbCdEf")
_PARAMETER = _kind("ssm", "parameter/")
# BatchGetSecretValue is not among them: it takes no resource, and reads what GetSecretValue is allowed on.
_READS = {
    "secretsmanager:GetSecretValue": _SECRET,
    "ssm:GetParameter": _PARAMETER,
    "ssm:GetParameters": _PARAMETER,
    "ssm:GetParametersByPath": _PARAMETER,
    "ssm:GetParameterHistory": _PARAMETER,
}
_EVERY, _SOME = "every resource", "more than it names whole"
_OWN_NAME = re.compile(r"(?<=/)\$\{aws:username\}$", re.IGNORECASE)
_VARIABLE = re.compile(r"\$\{[^{}$]*\}")
_WILD = re.compile(r"[*?$]")


class _Grant:
    """What one statement allows."""

    def __init__(self, statement: Mapping[str, Any]) -> None:
        self._all_but = "NotAction" in statement
        actions = listed(statement.get("NotAction" if self._all_but else "Action"))
        self._actions = Globs(str(action).lower() for action in actions)
        self._spares = "NotResource" in statement
        resources = listed(statement.get("NotResource" if self._spares else "Resource"))
        self._patterns = [str(resource) for resource in resources]

    @cached_property
    def _resources(self) -> Globs:
        return Globs(self._patterns)

    @cached_property
    def _unnamed(self) -> Globs:
        return Globs(pattern for pattern in self._patterns if not _names_one(pattern))

    @cached_property
    def _unnamed_but_own(self) -> Globs:
        return Globs(pattern for pattern in self._patterns if not _names_one(_OWN_NAME.sub("own", pattern)))

    def allows(self, action: str) -> bool:
        return self._actions.meets(action.lower()) != self._all_but

    def reaches(self, arn: str) -> bool:
        """Tell whether a resource is reached, in some account and region; of what is spared, in all of them."""
        if self._spares:
            return not self._resources.meets(arn.replace(RUN, OTHER * 12))
        return self._resources.meets(arn)

    def goes_beyond_named(self, kind: _Kind) -> bool:
        """Tell whether more of a kind is reached than what is named whole."""
        if self._spares:
            return self.reaches(kind.unheard_of)
        return (self._unnamed_but_own if kind.own else self._unnamed).meets(kind.stem + REST)


def danger_of(policy: Policy) -> str | None:
    """Say what whoever has a permissions policy could do with it, where that is more than its own work; else None."""
    grants = [_Grant(statement) for statement in policy.allows()]
    return (
        _many_services(grants, _MOST_PROBES)
        or _more_power(grants)
        or _a_role_to_run_as(grants)
        or _other_roles(grants)
        or _all_values(grants)
    )


def gives_anything(policy: Policy) -> str | None:
    """Say so where a permissions policy gives nearly everything, or the means to take it; else None."""
    grants = [_Grant(statement) for statement in policy.allows()]
    if (everything := _many_services(grants, len(_PROBES) - 1)) is not None:
        return everything
    return _more_power(grants, (_EVERY,))


def _many_services(grants: Sequence[_Grant], most: int) -> str | None:
    found = [action for action, kind in _PROBES.items() if _reach_all(grants, action, kind)]
    everything = any(grant.allows(_UNHEARD_OF_ACTION) and grant.reaches(_UNHEARD_OF_ARN) for grant in grants)
    if len(found) <= most and not everything:
        return None
    if everything or len(found) == len(_PROBES):
        return "It allows every action, or nearly, on every resource: who has it can do and delete anything there."
    return f"It allows {' and '.join(found)} on every resource: who has it can delete much of several services."


def _more_power(grants: Sequence[_Grant], places: Collection[str | None] = (_EVERY, _SOME)) -> str | None:
    for kind, actions in _MORE_POWER.items():
        for action in actions:
            if (where := _beyond_named(grants, action, kind)) in places:
                return f"It allows {action} on {where}: who has it can give themselves any permission there."
    return None


def _a_role_to_run_as(grants: Sequence[_Grant]) -> str | None:
    if (where := _beyond_named(grants, "iam:PassRole", _ROLE)) is None:
        return None
    if (runs := next((action for action in _RUNS if any(grant.allows(action) for grant in grants)), None)) is None:
        return None
    return (
        f"It allows iam:PassRole on {where}, and {runs}: who has it can run code with any of those roles' permissions."
    )


def _other_roles(grants: Sequence[_Grant]) -> str | None:
    if (where := _beyond_named(grants, "sts:AssumeRole", _ROLE)) is None:
        return None
    return f"It allows sts:AssumeRole on {where}: who has it can become any of those roles that trust it."


def _all_values(grants: Sequence[_Grant]) -> str | None:
    found = next((action for action, kind in _READS.items() if _reach_all(grants, action, kind)), None)
    return found and f"It allows {found} on every resource: who has it can read all values there."


def _beyond_named(grants: Iterable[_Grant], action: str, kind: _Kind) -> str | None:
    """Say on what an action is allowed beyond resources that are named whole; None where on none."""
    beyond = [grant for grant in grants if grant.allows(action) and grant.goes_beyond_named(kind)]
    if not beyond:
        return None
    return _EVERY if any(grant.reaches(kind.unheard_of) for grant in beyond) else _SOME


def _reach_all(grants: Iterable[_Grant], action: str, kind: _Kind) -> bool:
    """Tell whether an action is allowed on all resources of a kind, whichever statements and patterns share them."""
    allowing = [grant for grant in grants if grant.allows(action)]
    if any(grant.reaches(kind.unheard_of) for grant in allowing):
        return True
    may = [grant for grant in allowing if grant.reaches(kind.stem + REST)]
    reached = sum(any(grant.reaches(kind.arn(name)) for grant in may) for name in kind.names)
    return reached * 2 >= len(kind.names)


def _names_one(pattern: str) -> bool:
    """Tell whether a pattern names one resource whole: no two of an account differ in their path alone."""
    path, slash, name = _VARIABLE.sub("$", pattern).rpartition("/")
    if not slash:
        return name.endswith(":root") and not _WILD.search(name)
    return bool(name and path) and not _WILD.search(name)
