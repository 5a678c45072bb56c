"""The configured clouds: `clouds.yaml`, `secure.yaml` and `OS_*`, read by openstacksdk.

openstacksdk is imported late, because importing takes seconds and most importers of this package
never connect. openstacksdk skips files that it cannot read or parse; here they are errors.
"""

from __future__ import annotations

import json
import os
import re
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from dashboard.http.redact import one_line

from .credentials import ACCESS_KEY, AGENCY, LIFTED_NAMES, signs_with_key
from .errors import ConfigurationError

if TYPE_CHECKING:
    from openstack.config import OpenStackConfig
    from openstack.config.cloud_region import CloudRegion

CHECKOUT = Path(__file__).resolve().parents[2]
_SUFFIXES = ("yaml", "yml", "json")
# Keys whose text YAML may parse as a number, date or boolean.
_TEXT_KEY = re.compile(r"pass|secret|token|user|name|domain|project|_id$|^[as]k$|access_key", re.I)
# Keys that openstacksdk moves into `auth` only for plugins that it knows.
_AUTH_NAMES = frozenset(
    ("auth_url", "username", "user_id", "password", "target_agency_name", "target_domain_name",
     "target_domain_id", "target_project_name", "target_project_id")
)  # fmt: skip
_UNKNOWN_KEY = re.compile(r"unexpected keyword argument '(\w{1,50})'")
_MISSING_KEY = re.compile(r"missing \d+ required [\w -]+ arguments?: '(\w{1,50})'")
# Keys beside `auth` whose value is a text.
_TEXT_NAMES = LIFTED_NAMES | {
    "auth_type", "css_endpoint_override", "interface", "endpoint_type", "profile",
}  # fmt: skip
Fingerprint = tuple[object, ...]


class _Loaded(NamedTuple):
    fingerprint: Fingerprint
    config: OpenStackConfig
    in_files: frozenset[str]


_lock = threading.Lock()
_loaded: _Loaded | None = None


def list_clouds() -> tuple[tuple[str, str], ...]:
    """All configured clouds and regions.

    Returns:
        Pairs (cloud, region) in the order of the files; the region is "" for an entry without one.
        Empty if nothing is configured: neither openstacksdk's implicit `defaults` nor `OS_*`
        variables without `OS_AUTH_URL` count as a cloud, except an `OS_ACCESS_KEY` with
        `OS_CSS_ENDPOINT_OVERRIDE`.

    Raises:
        ConfigurationError: a file cannot be read; the text names file and entry.
    """
    with _lock:
        loaded = _load()
        pairs: list[tuple[str, str]] = []
        for name in loaded.config.get_cloud_names():
            if name not in loaded.in_files and not _has_address(loaded.config, name):
                continue
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    regions = loaded.config._get_regions(name)
            except Exception as error:
                raise _unusable(loaded.config, name, error) from error
            pairs += [(name, str(region["name"])) for region in regions]
        return tuple(dict.fromkeys(pairs))


def region_is_guessed(cloud: str) -> bool:
    """Whether an entry names no region itself, so that its profile's are used.

    The profile `otc` has all regions of that cloud, and an account may be in one of them only.

    Args:
        cloud: name of the entry.

    Raises:
        ConfigurationError: a file cannot be read.
    """
    with _lock:
        entry = _load().config.cloud_config["clouds"].get(cloud)
    names = {"regions", "region_name", "region-name"}
    of_profile = isinstance(entry, dict) and bool({"profile", "cloud"} & entry.keys())
    return of_profile and not names & entry.keys()


def cloud_region(cloud: str, region: str) -> CloudRegion:
    """Read one entry.

    Args:
        cloud: name of the entry.
        region: name of the region; "" for the entry's first, or none.

    Raises:
        ConfigurationError: there is no such entry or region, or it cannot be used.
    """
    with _lock:
        loaded = _load()
        known = loaded.config.get_cloud_names()
        if cloud not in known or (
            cloud not in loaded.in_files and not _has_address(loaded.config, cloud)
        ):
            source = loaded.config.config_filename or "clouds.yaml (no such file found)"
            raise ConfigurationError(one_line(f"cloud '{cloud}' is not in {source}", 500))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                own = _own_auth_type(loaded.config, cloud, region)
                if not own:
                    return loaded.config.get_one(cloud=cloud, region_name=region)
                # keystoneauth has no plugin for these
                found = loaded.config.get_one(cloud=cloud, region_name=region, validate=False)
                found.config["auth_type"] = own
                for name in _AUTH_NAMES & found.config.keys():
                    found.config["auth"].setdefault(name, found.config[name])
                return found
        except Exception as error:  # openstacksdk and its plugins raise errors of any type
            raise _unusable(loaded.config, cloud, error) from error


def _own_auth_type(config: OpenStackConfig, cloud: str, region: str) -> str:
    """ACCESS_KEY or AGENCY for an entry of that kind, "" for one that keystoneauth signs in."""
    entry: dict[str, Any] = {}
    config._expand_vendor_profile(cloud, entry, config.cloud_config["clouds"][cloud])
    auth = entry.get("auth") or {}
    for part in (config.cloud_config["clouds"][cloud], config._get_region(cloud, region)["values"]):
        auth = {**auth, **(part.get("auth") or {})}
        entry = {**entry, **part, "auth": auth}
    if config.envvar_key == cloud:  # openstacksdk adds its default
        entry["auth_type"] = os.environ.get("OS_AUTH_TYPE")
    if entry.get("auth_type") == AGENCY:
        return AGENCY
    return ACCESS_KEY if signs_with_key(entry) else ""


def fingerprint() -> Fingerprint:
    """A value that changes with any file or variable of the configuration."""
    found: list[object] = [
        (name, value) for name, value in sorted(os.environ.items()) if name.startswith("OS_")
    ]
    named = [os.environ.get(name) for name in ("OS_CLIENT_CONFIG_FILE", "OS_CLIENT_SECURE_FILE")]
    for path in (*filter(None, named), *_config_files(), *_secure_files()):
        try:
            state = os.stat(path)  # noqa: PTH116  ten times faster, and called at each connect
        except OSError:
            continue
        found.append((path, state.st_mtime_ns, state.st_size, state.st_ino))
    return tuple(found)


def _load() -> _Loaded:
    global _loaded
    from openstack.config import OpenStackConfig

    current = fingerprint()
    if _loaded is not None and _loaded.fingerprint == current:
        return _loaded
    config_files, secure_files = _config_files(), _secure_files()
    names = _check(config_files, "OS_CLIENT_CONFIG_FILE")
    names |= _check(secure_files, "OS_CLIENT_SECURE_FILE")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = OpenStackConfig(config_files=config_files, secure_files=secure_files)
    except Exception as error:
        raise ConfigurationError(one_line(f"clouds.yaml cannot be used: {error}", 500)) from error
    _lift_keys(config.cloud_config.get("clouds"))
    _loaded = _Loaded(current, config, frozenset(names))
    return _loaded


def _lift_keys(value: object) -> None:
    """Move access keys out of `auth`: there, keystoneauth's plugins reject them."""
    if isinstance(value, list):
        for each in value:
            _lift_keys(each)
    if not isinstance(value, dict):
        return
    auth = value.get("auth")
    if isinstance(auth, dict):
        for name in LIFTED_NAMES & auth.keys():
            value.setdefault(name, auth.pop(name))
    for each in value.values():
        _lift_keys(each)


def _config_files() -> list[str]:
    """Search path of clouds.yaml, without OS_CLIENT_CONFIG_FILE.

    openstacksdk's path, with this checkout after the working directory, for cron jobs.
    """
    from openstack.config import loader

    places: list[str] = loader.CONFIG_FILES
    here = len(_SUFFIXES)  # openstacksdk's first folder is the working directory
    return [*places[:here], *(_files_in(CHECKOUT, "clouds") if places else []), *places[here:]]


def _secure_files() -> list[str]:
    """Search path of secure.yaml, without OS_CLIENT_SECURE_FILE.

    Starts beside the file in OS_CLIENT_CONFIG_FILE, where openstacksdk does not look.
    """
    from openstack.config import loader

    places: list[str] = loader.SECURE_FILES
    here = len(_SUFFIXES)
    named = os.environ.get("OS_CLIENT_CONFIG_FILE")
    return [
        *(_files_in(Path(named).parent, "secure") if named else []),
        *places[:here],
        *(_files_in(CHECKOUT, "secure") if places else []),
        *places[here:],
    ]


def _files_in(folder: Path, stem: str) -> list[str]:
    return [str(folder / f"{stem}.{suffix}") for suffix in _SUFFIXES]


def _check(places: list[str], variable: str) -> set[str]:
    """Check the file that openstacksdk will use, and return the names of its clouds."""
    named = os.environ.get(variable)
    if named and not Path(named).exists():
        raise ConfigurationError(f"{variable} names {named}, which does not exist")
    path = next(
        (Path(p) for p in ([named] if named else []) + list(places) if Path(p).exists()), None
    )
    if path is None:
        return set()
    try:
        text = path.read_text()
        data: Any = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except yaml.MarkedYAMLError as error:  # its text quotes the line, which may contain a secret
        mark = error.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigurationError(f"{path} is not valid YAML{where}") from error
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise ConfigurationError(f"{path} is not valid YAML or JSON") from error
    if data is None:
        return set()
    clouds = data.get("clouds") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(clouds, dict | None):
        raise ConfigurationError(f"{path}: `clouds` is not a mapping of names to entries")
    for name, entry in (clouds or {}).items():
        if not isinstance(name, str) or not isinstance(entry, dict):
            raise ConfigurationError(one_line(f"{path}: entry '{name}' is not a mapping", 500))
        if not isinstance(entry.get("auth", {}), dict):
            raise ConfigurationError(one_line(f"{path}: `auth` of '{name}' is not a mapping", 500))
        own = {key: value for key, value in entry.items() if key in _TEXT_NAMES}
        for key, value in {**entry.get("auth", {}), **own}.items():
            if isinstance(value, dict | list) or (key == "interface" and value is True):
                text = f"{path}: {key} of '{name}' is not a string: enter one value"
                raise ConfigurationError(one_line(text, 500))
    _require_quotes(text, path)
    return set(clouds or {})


def _require_quotes(text: str, path: Path) -> None:
    """Reject credentials that YAML parses to something other than the written text.

    `password: 0123456` is the octal number 42798, and each failed sign-in counts towards locking
    the account. A number that is parsed as written is accepted as text.

    Raises:
        ConfigurationError: names file, entry and key.
    """
    if path.suffix == ".json":
        return
    for name, entry in _pairs(_value_of(yaml.compose(text, yaml.SafeLoader), "clouds")):
        own = [pair for pair in _pairs(entry) if pair[0] in LIFTED_NAMES]
        for key, node in [*_pairs(_value_of(entry, "auth")), *own]:
            if not isinstance(node, yaml.ScalarNode) or not _TEXT_KEY.search(key):
                continue
            if node.tag in (_STR, _NULL):
                continue
            if node.tag != _INT or not re.fullmatch(r"0|-?[1-9][0-9]*", node.value):
                raise ConfigurationError(
                    one_line(
                        f"{path}: {key} of '{name}' is not in quotes, and YAML reads it"
                        " as another value: put it in quotes",
                        500,
                    )
                )


_STR, _NULL, _INT = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "null", "int"))


def _value_of(node: yaml.Node | None, key: str) -> yaml.Node | None:
    return next((value for name, value in _pairs(node) if name == key), None)


def _pairs(node: yaml.Node | None) -> list[tuple[str, yaml.Node]]:
    found = node.value if isinstance(node, yaml.MappingNode) else []
    return [(key.value, value) for key, value in found if isinstance(key, yaml.ScalarNode)]


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


def _has_address(config: OpenStackConfig, name: str) -> bool:
    """Whether variables describe a cloud: its identity service, or for an access key its CSS."""
    entry = config.cloud_config["clouds"].get(name) or {}
    auth = entry.get("auth") or {}
    signed = entry.get("access_key") and entry.get("css_endpoint_override")
    return bool(entry.get("auth_url") or auth.get("auth_url") or signed)


def _unusable(config: OpenStackConfig, cloud: str, error: Exception) -> ConfigurationError:
    from keystoneauth1.exceptions import ClientException
    from openstack.exceptions import SDKException

    known = isinstance(error, ClientException | SDKException)
    why = str(error) if known else type(error).__name__
    if isinstance(error, TypeError) and (key := _UNKNOWN_KEY.search(str(error))):
        why = f"{key[1]} is not a setting of these credentials"
    elif isinstance(error, TypeError) and (key := _MISSING_KEY.search(str(error))):
        why = f"{key[1]} is missing"
    source = config.config_filename or "the environment (OS_*)"
    return ConfigurationError(one_line(f"{source}: entry '{cloud}' cannot be used: {why}", 500))
