"""A mapping becomes frozen values, or problems with the paths of the fields.

Rule 1: reads no file and no environment. Rule 2: every refusal names the path of the field and what to do, and
quotes no value. Rule 3: knows no backend by name: a profile is data (`Profile`), the built-in ones stand in `profiles`.

`scalars` single values · `profile_model`, `model` the shape · `catalog` profiles by name · `carrying` which way a
token goes · `filling` where the answer to the request before the upgrade goes · `document` YAML text · `messages`
pydantic's errors in our words · `target_checks`, `canary_checks`, `sentinel_checks`, `hold_checks`, `stats_checks`,
`profile_checks` what fields must agree on · `refusals` what must be refused · `header_rules` what a header is ·
`regexes` of rules · `defaults` what holds for every target · `unreachable` rules that never apply · `parsing` all of
it together · `web`, `http_client` the files of `--web.config.file` and `--http.config.file`.
"""

from exporter.config.carrying import (
    Carrier,
    carrier_of,
    connects_anonymously,
    connects_without_token,
    has_token_message,
    has_token_step,
    keys_in,
    leave_out,
    sends_token_before,
    withholds_token,
)
from exporter.config.catalog import ProfileCatalog
from exporter.config.defaults import located
from exporter.config.document import MAX_CHARACTERS, YamlError, load_yaml
from exporter.config.http_client import BasicAuth, HttpClient, parse_http_client
from exporter.config.mistake import Problem
from exporter.config.model import (
    Auth,
    Canary,
    CarryWord,
    Config,
    ConfirmRuns,
    CycleShare,
    HeaderCarry,
    Hold,
    Jwt,
    ProbeSchedule,
    Refusals,
    Secret,
    Sentinel,
    SlowOver,
    Stats,
    Target,
    TargetLimits,
    Tls,
)
from exporter.config.parsing import ConfigExamination, ConfigPart, examine, parse
from exporter.config.profile_checks import LARGEST_NUMBER, covers, needs_token, profile_problems, steps_of
from exporter.config.profile_model import (
    RULE_REASONS,
    BackendLimits,
    Before,
    BreakerSettings,
    Carry,
    ClientHeartbeat,
    CloseRule,
    ErrorRule,
    Framing,
    Model,
    NoiseRule,
    Profile,
    Proves,
    RefusedBy,
    RuleOutcome,
    StatusRule,
    Step,
    Welcome,
    WelcomeCheck,
)
from exporter.config.refusals import HARMLESS_CASES, MIN_RARE_GAP_SECONDS, possible_cases, rare_cases
from exporter.config.regexes import regex
from exporter.config.scalars import Duration, FieldPath, Message, Name, Pattern, Period, checked_name, link_url, seconds
from exporter.config.unreachable import unreachable_rules
from exporter.config.web import CIPHERS, CURVE_NAMES, RateLimit, TlsServer, WebConfig, parse_web

__all__ = [
    "CIPHERS",
    "CURVE_NAMES",
    "HARMLESS_CASES",
    "LARGEST_NUMBER",
    "MAX_CHARACTERS",
    "MIN_RARE_GAP_SECONDS",
    "RULE_REASONS",
    "Auth",
    "BackendLimits",
    "BasicAuth",
    "Before",
    "BreakerSettings",
    "Canary",
    "Carrier",
    "Carry",
    "CarryWord",
    "ClientHeartbeat",
    "CloseRule",
    "Config",
    "ConfigExamination",
    "ConfigPart",
    "ConfirmRuns",
    "CycleShare",
    "Duration",
    "ErrorRule",
    "FieldPath",
    "Framing",
    "HeaderCarry",
    "Hold",
    "HttpClient",
    "Jwt",
    "Message",
    "Model",
    "Name",
    "NoiseRule",
    "Pattern",
    "Period",
    "ProbeSchedule",
    "Problem",
    "Profile",
    "ProfileCatalog",
    "Proves",
    "RateLimit",
    "Refusals",
    "RefusedBy",
    "RuleOutcome",
    "Secret",
    "Sentinel",
    "SlowOver",
    "Stats",
    "StatusRule",
    "Step",
    "Target",
    "TargetLimits",
    "Tls",
    "TlsServer",
    "WebConfig",
    "Welcome",
    "WelcomeCheck",
    "YamlError",
    "carrier_of",
    "checked_name",
    "connects_anonymously",
    "connects_without_token",
    "covers",
    "examine",
    "has_token_message",
    "has_token_step",
    "keys_in",
    "leave_out",
    "link_url",
    "load_yaml",
    "located",
    "needs_token",
    "parse",
    "parse_http_client",
    "parse_web",
    "possible_cases",
    "profile_problems",
    "rare_cases",
    "regex",
    "seconds",
    "sends_token_before",
    "steps_of",
    "unreachable_rules",
    "withholds_token",
]
