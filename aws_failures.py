"""What each of botocore's exceptions means, by its class's name; a test walks them all.

A class that is not named here means what its nearest base means.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from aws_codes import CHECK


class Kind(Enum):
    """Who can mend it, and so which failure of ours it becomes."""

    ANSWER = "AWS's answer says it"
    CREDENTIALS = "NoCredentials"
    CONFIGURATION = "InvalidConfiguration"
    ARGUMENT = "InvalidParameter"
    TRANSPORT = "ServiceUnavailable"
    BUSY = "the client's own brake"
    OURS = "InternalError"


_BY_KIND: Mapping[Kind, str] = {
    Kind.ANSWER: "ClientError",
    Kind.CREDENTIALS: "NoCredentialsError PartialCredentialsError CredentialRetrievalError MetadataRetrievalError "
    "TokenRetrievalError NoAuthTokenError UnknownTokenProviderError UnknownCredentialError SSOError LoginError "
    "InvalidConfigError ConfigParseError ConfigNotFound ProfileNotFound RefreshWithMFAUnsupportedError "
    "InvalidIMDSEndpointError InvalidIMDSEndpointModeError MissingDependencyException",
    Kind.CONFIGURATION: "UnknownRegionError BaseEndpointResolverError ServiceNotInRegionError InvalidRegionError "
    "UnknownSignatureVersionError UnsupportedSignatureVersionError InvalidS3AddressingStyleError "
    "UnsupportedS3ConfigurationError UnsupportedS3AccesspointConfigurationError UnsupportedS3ControlConfigurationError "
    "InvalidEndpointDiscoveryConfigurationError InvalidRetryConfigurationError "
    "InvalidS3UsEast1RegionalEndpointConfigError InvalidSTSRegionalEndpointsConfigError InvalidProxiesConfigError "
    "InvalidDefaultsMode InvalidEndpointConfigurationError EndpointProviderError InvalidChecksumConfigError "
    "MD5UnavailableError",
    Kind.ARGUMENT: "ParamValidationError ValidationError MissingParametersError InvalidDNSNameError "
    "UnsupportedS3ArnError UnsupportedS3ControlArnError UnsupportedOutpostResourceError InvalidHostLabelError",
    Kind.TRANSPORT: "HTTPClientError ConnectionError IncompleteReadError ChecksumError FlexibleChecksumError "
    "ResponseParserError PaginationError WaiterError",
    Kind.BUSY: "CapacityNotAvailableError",
    Kind.OURS: "BotoCoreError DataNotFoundError ApiVersionNotFoundError UnknownServiceStyle OperationNotPageableError "
    "UnseekableStreamError InvalidExpressionError WaiterConfigError UnknownClientMethodError StubResponseError "
    "UndefinedModelAttributeError UnknownEndpointResolutionBuiltInName AwsChunkedWrapperError "
    "UnsupportedServiceProtocolsError",
}
KINDS: Mapping[str, Kind] = {name: kind for kind, names in _BY_KIND.items() for name in names.split()}

NO_CREDENTIALS = "No AWS credentials could be had for this identity."
_LOGIN = "Sign in anew with `aws login`; it needs botocore[crt], which requirements.txt has."
# Of these more can be said. What botocore says itself may hold a path, a profile's name or a helper's output.
WORDS: Mapping[str, tuple[str, str]] = {
    "ProfileNotFound": ("The profile is not in the host's AWS configuration.", "Check AWS_PROFILE and ~/.aws/config."),
    "ConfigParseError": (
        "The host's AWS configuration cannot be read.",
        f"Mend ~/.aws/config or ~/.aws/credentials: {CHECK}, which names the file and the line.",
    ),
    "PartialCredentialsError": (
        "Of the AWS credentials a part is missing: the access key or the secret key.",
        "Set both.",
    ),
    "SSOError": ("The SSO session has ended or was not begun.", "Sign in with `aws sso login`."),
    "LoginError": ("The session of `aws login` has ended or cannot be read.", _LOGIN),
    "MissingDependencyException": ("botocore[crt] is missing here; a profile of `aws login` needs it.", _LOGIN),
    "RefreshWithMFAUnsupportedError": (
        "The profile asks for an MFA code, which a server cannot give.",
        "Use a profile without mfa_serial, or put a session's keys into the credentials file.",
    ),
    "MetadataRetrievalError": (
        "The container's or instance's credentials could not be had.",
        "Check AWS_CONTAINER_CREDENTIALS_FULL_URI and the instance metadata service.",
    ),
    "InvalidIMDSEndpointError": (
        "The address of the instance metadata service cannot be used.",
        "Check AWS_EC2_METADATA_SERVICE_ENDPOINT.",
    ),
    "InvalidIMDSEndpointModeError": (
        "The mode of the instance metadata service is none that exists.",
        "Check AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE: ipv4 or ipv6.",
    ),
    "InvalidDefaultsMode": (
        "AWS_DEFAULTS_MODE, or defaults_mode in the AWS configuration, is none that exists.",
        "Set it to standard, in-region, cross-region, mobile, auto or legacy.",
    ),
    "InvalidRetryModeError": (
        "AWS_RETRY_MODE, or retry_mode in the AWS configuration, is none that exists.",
        "Set it to standard, adaptive or legacy.",
    ),
    "InvalidMaxRetryAttemptsError": (
        "AWS_MAX_ATTEMPTS, or max_attempts in the AWS configuration, is no number from 1.",
        "Set it to a number, or remove it.",
    ),
    "InvalidSTSRegionalEndpointsConfigError": (
        "AWS_STS_REGIONAL_ENDPOINTS, or sts_regional_endpoints in the AWS configuration, is none that exists.",
        "Set it to regional, or remove it.",
    ),
    "InvalidS3UsEast1RegionalEndpointConfigError": (
        "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT, or its setting in the AWS configuration, is none that exists.",
        "Set it to regional, or remove it.",
    ),
    "InvalidS3AddressingStyleError": (
        "addressing_style in the AWS configuration is none that exists.",
        "Set it to auto, virtual or path.",
    ),
    "InvalidProxiesConfigError": (
        "The proxy's settings in the AWS configuration cannot be used.",
        "Check proxy_ca_bundle, proxy_client_cert, HTTPS_PROXY and HTTP_PROXY.",
    ),
    "InvalidChecksumConfigError": (
        "AWS_REQUEST_CHECKSUM_CALCULATION or AWS_RESPONSE_CHECKSUM_VALIDATION is none that exists.",
        "Set it to when_supported or when_required.",
    ),
    "InvalidEndpointDiscoveryConfigurationError": (
        "AWS_ENABLE_ENDPOINT_DISCOVERY is none that exists.",
        "Set it to true, false or auto.",
    ),
    "UnknownRegionError": ("That region is not known.", "Use another region."),
    "InvalidRegionError": ("A region in the AWS configuration is not a region's name.", "Give one such as us-east-1."),
    "BaseEndpointResolverError": (
        "The service has no endpoint of the kind that is set in this region.",
        "Use another region; check AWS_USE_FIPS_ENDPOINT and AWS_USE_DUALSTACK_ENDPOINT.",
    ),
    "EndpointProviderError": (
        "The service has no endpoint with these settings.",
        "Check AWS_USE_FIPS_ENDPOINT, AWS_USE_DUALSTACK_ENDPOINT, AWS_ENDPOINT_URL and the region.",
    ),
    "ServiceNotInRegionError": ("The service is not available in that region.", "Use another region."),
    "ParamValidationError": ("AWS's API model does not admit these arguments.", "Correct them and call again."),
    "CapacityNotAvailableError": ("Too many requests of this identity have failed.", "Wait and retry."),
    "PaginationError": ("AWS's answer was incomplete or not understood.", "Retry."),
}  # fmt: skip
_OF_A_KIND: Mapping[Kind, tuple[str, str]] = {
    Kind.CREDENTIALS: (NO_CREDENTIALS, f"Check the server's credentials (IRSA, profile, SSO login): {CHECK}."),
    Kind.CONFIGURATION: (
        "A setting of the host's AWS configuration cannot be used.",
        f"Check the AWS_* variables and ~/.aws/config; {CHECK}.",
    ),
    Kind.ARGUMENT: ("AWS's API model does not admit these arguments.", "Correct them and call again."),
}
# How botocore came to look for credentials -> what an operator knows it by.
PROVIDERS: Mapping[str, tuple[str, str]] = {
    "env": (
        "The AWS keys in the environment cannot be used.",
        "Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN.",
    ),
    "assume-role": (
        "The profile's role could not be assumed by its role_arn, source_profile and credential_source.",
        "Check that they are right, and that what they name gives credentials.",
    ),
    "assume-role-with-web-identity": (
        "The role of AWS_WEB_IDENTITY_TOKEN_FILE, or of a profile's web_identity_token_file, could not be assumed.",
        "Check that the file is mounted, AWS_ROLE_ARN and the role's trust in the identity provider.",
    ),
    "sso": WORDS["SSOError"],
    "login": WORDS["LoginError"],
    "shared-credentials-file": WORDS["ConfigParseError"],
    "config-file": WORDS["ConfigParseError"],
    "custom-process": (
        "The profile's credential_process did not give credentials.",
        "Run the command of credential_process by hand: it must print JSON with Version 1, AccessKeyId and "
        "SecretAccessKey, and nothing else.",
    ),
    "container-role": (
        "No credentials could be had from AWS_CONTAINER_CREDENTIALS_FULL_URI (or _RELATIVE_URI) with "
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE.",
        "The address is https, on loopback or one of the agents' own; the file is one line, without an end of line.",
    ),
    "iam-role": WORDS["MetadataRetrievalError"],
}


def words_for(names: tuple[str, ...], kind: Kind) -> tuple[str, str]:
    """Return the sentence and the next step for a class, given its name and its bases', nearest first."""
    known = next((name for name in names if name in WORDS or KINDS.get(name) is kind), "")
    return WORDS.get(known) or _OF_A_KIND[kind]
