"""What must hold of every plan, whatever resource somebody adds: each rule yields what breaks it.

`terraform test` looks at resources that it names. These rules look at all there are.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

Resource = dict
Plan = dict

RULES: list[Callable[[Plan], Iterator[str]]] = []


def rule(check: Callable[[Plan], Iterator[str]]) -> Callable[[Plan], Iterator[str]]:
    RULES.append(check)
    return check


def resources(plan: Plan, *types: str) -> Iterator[tuple[str, Resource]]:
    """Address and values of each resource that will be there, of these types or of all."""
    for change in plan["resource_changes"]:
        if change["mode"] == "managed" and (not types or change["type"] in types):
            yield change["address"], change["change"]["after"] or {}


def kind(address: str) -> str:
    return re.search(r"(google_\w+|terraform_data)\.", address)[1]


def grants(plan: Plan) -> Iterator[tuple[str, str, str]]:
    """Address, role and member of every right that is given."""
    for address, values in resources(plan):
        if "role" in values and ("member" in values or "members" in values):
            for member in values.get("members") or [values.get("member") or "unknown"]:
                yield address, values["role"], member


def blocks(values: Resource, *path: str) -> Iterator[Resource]:
    """Every block at the end of a path of blocks."""
    found = [values]
    for name in path:
        found = [block for outer in found for block in outer.get(name) or []]
    yield from found


@rule
def no_service_account_has_a_key(plan: Plan) -> Iterator[str]:
    for address, _ in resources(plan, "google_service_account_key", "google_storage_hmac_key"):
        yield address


@rule
def no_password_is_in_the_state(plan: Plan) -> Iterator[str]:
    for address, values in resources(plan):
        for name in ("password", "root_password", "secret_data", "private_key"):
            if values.get(name):
                yield f"{address} has {name}"


@rule
def nothing_has_a_public_address(plan: Plan) -> Iterator[str]:
    for address, values in resources(plan):
        for nic in blocks(values, "network_interface"):
            if nic.get("access_config") or nic.get("ipv6_access_config"):
                yield address
        if values.get("address_type") == "EXTERNAL":
            yield address
        for ip in blocks(values, "settings", "ip_configuration"):
            if ip.get("ipv4_enabled") is not False or ip.get("authorized_networks"):
                yield address
        for _ in blocks(values, "gcp_config", "access_config", "public_cluster_config"):
            yield address


@rule
def nobody_comes_in_from_everywhere(plan: Plan) -> Iterator[str]:
    for address, values in resources(plan, "google_compute_firewall"):
        wide = {"0.0.0.0/0", "::/0"} & set(values.get("source_ranges") or [])
        if values.get("allow") and values.get("direction") == "INGRESS" and wide:
            yield address


@rule
def every_opening_names_whom_it_concerns(plan: Plan) -> Iterator[str]:
    for address, values in resources(plan, "google_compute_firewall"):
        if values.get("allow") and not values.get("target_service_accounts"):
            yield address


@rule
def no_right_is_wide(plan: Plan) -> Iterator[str]:
    wide = re.compile(r"roles/(owner|editor|viewer|.*[aA]dmin)$")
    for address, role, _ in grants(plan):
        if wide.match(role) and role != "roles/compute.osAdminLogin":
            yield f"{address}: {role}"


@rule
def no_right_takes_others_away(plan: Plan) -> Iterator[str]:
    # A binding or policy removes every member that it does not name.
    for address, _ in resources(plan):
        if re.search(r"_iam_(binding|policy)\.", address):
            yield address


@rule
def nothing_is_public(plan: Plan) -> Iterator[str]:
    for address, role, member in grants(plan):
        if member in ("allUsers", "allAuthenticatedUsers"):
            yield f"{address}: {role}"


@rule
def buckets_are_uniform_and_private(plan: Plan) -> Iterator[str]:
    for address, values in resources(plan, "google_storage_bucket"):
        uniform = values.get("uniform_bucket_level_access")
        if not uniform or values.get("public_access_prevention") != "enforced":
            yield address


@rule
def no_lifecycle_rule_reaches_tidemills_records(plan: Plan) -> Iterator[str]:
    for address, values in resources(plan, "google_storage_bucket"):
        for lifecycle in blocks(values, "lifecycle_rule"):
            # What was never completed is no object, and no record names it.
            if all(action.get("type") == "AbortIncompleteMultipartUpload" for action in blocks(lifecycle, "action")):
                continue
            for condition in blocks(lifecycle, "condition"):
                prefixes = condition.get("matches_prefix") or [""]
                if any("_tidemill/".startswith(prefix) or prefix.startswith("_tidemill") for prefix in prefixes):
                    yield address


@rule
def tables_of_the_warehouse_are_tidemills(plan: Plan) -> Iterator[str]:
    for address, values in resources(plan, "google_bigquery_table"):
        if not values.get("external_data_configuration"):
            yield address


@rule
def lake_and_warehouse_are_in_one_place(plan: Plan) -> Iterator[str]:
    places = {
        values["location"].upper()
        for _, values in resources(plan, "google_storage_bucket", "google_bigquery_dataset")
    }
    if len(places) > 1:
        yield " and ".join(sorted(places))


@rule
def brokers_of_ours_are_in_three_zones(plan: Plan) -> Iterator[str]:
    zones = [
        values["zone"]
        for address, values in resources(plan, "google_compute_instance")
        if ".module.kafka_vm" in address
    ]
    if zones and len(set(zones)) < 3:
        yield ", ".join(zones)


@rule
def what_can_have_labels_has_ours(plan: Plan) -> Iterator[str]:
    for address, values in resources(plan):
        if kind(address) in UNLABELLED:
            continue
        for name in ("labels", "user_labels"):
            if name in values and (values[name] or {}).get("app") != "tidemill":
                yield f"{address}: {name}"


# An internal address has no bill of its own; a channel's `labels` are the e-mail address.
UNLABELLED = {
    "google_compute_address",
    "google_compute_global_address",
    "google_monitoring_notification_channel",
}


@rule
def nothing_is_made_before_its_api_is_enabled(plan: Plan) -> Iterator[str]:
    calls = plan["configuration"]["root_module"]["module_calls"]["tidemill"]["module"]["module_calls"]
    for name, call in calls.items():
        if name != "project" and "module.project" not in call.get("depends_on", []):
            yield f"module {name}"


@rule
def a_group_of_configured_instances_has_no_size(plan: Plan) -> Iterator[str]:
    # A config creates its instance, with its disk, and counts it. A size would make another, without.
    if not any(resources(plan, "google_compute_per_instance_config")):
        return
    for address, values in resources(plan, "google_compute_instance_group_manager"):
        if values.get("target_size") is not None:
            yield address


@rule
def what_holds_data_is_kept_in_prod(plan: Plan) -> Iterator[str]:
    if plan["env"] != "prod":
        return
    holding = (
        "google_storage_bucket",
        "google_compute_disk",
        "google_sql_database_instance",
        "google_managed_kafka_cluster",
        # No data, but the service.
        "google_compute_instance_group_manager",
        "google_compute_per_instance_config",
        "google_cloud_run_v2_worker_pool",
    )
    for address, values in resources(plan, *holding):
        if values.get("deletion_policy") != "PREVENT":
            yield address
    for address, values in resources(plan, "google_bigquery_dataset"):
        if ".written[" in address and values.get("deletion_policy") != "PREVENT":
            yield address


@rule
def every_disk_and_dataset_takes_the_own_key(plan: Plan) -> Iterator[str]:
    for address, _, keys in encrypted(plan):
        if not keys or not all(keys):
            yield address


@rule
def every_key_is_where_its_data_is(plan: Plan) -> Iterator[str]:
    region = plan["variables"]["region"]["value"]
    for address, values, keys in encrypted(plan):
        place = (values.get("location") or region).lower()
        for key in filter(None, keys):
            if key.split("/")[3] != {"eu": "europe"}.get(place, place):
                yield f"{address} is in {place}, {key} is not"


@rule
def whoever_encrypts_may_use_the_key(plan: Plan) -> Iterator[str]:
    may = {
        (re.search(r'\.uses\["(\w+)"\]', address)[1], values["crypto_key_id"])
        for address, values in resources(plan, "google_kms_crypto_key_iam_member")
    }
    for address, _, keys in encrypted(plan):
        for key in filter(None, keys):
            if (AGENTS[kind(address)], key) not in may:
                yield f"{address}: no right on {key}"


def encrypted(plan: Plan) -> Iterator[tuple[str, Resource, list[str | None]]]:
    """What holds data, and its keys. Only a plan with kms_key set can tell."""
    if not plan["variables"].get("kms_key", {}).get("value"):
        return
    for address, values in resources(plan):
        if kind(address) in KEYS:
            yield address, values, KEYS[kind(address)](values)


def keys_in(*path: str) -> Callable[[Resource], list[str | None]]:
    return lambda it: [block.get(path[-1]) for block in blocks(it, *path[:-1])] or [None]


KEYS = {
    "google_storage_bucket": keys_in("encryption", "default_kms_key_name"),
    "google_compute_disk": keys_in("disk_encryption_key", "kms_key_self_link"),
    "google_compute_instance": keys_in("boot_disk", "kms_key_self_link"),
    "google_compute_region_instance_template": keys_in("disk", "disk_encryption_key", "kms_key_self_link"),
    "google_bigquery_dataset": keys_in("default_encryption_configuration", "kms_key_name"),
    "google_sql_database_instance": keys_in("encryption_key_name"),
    "google_artifact_registry_repository": keys_in("kms_key_name"),
    "google_managed_kafka_cluster": keys_in("gcp_config", "kms_key"),
    "google_cloud_run_v2_worker_pool": keys_in("template", "encryption_key"),
}
AGENTS = {
    "google_storage_bucket": "storage",
    "google_compute_disk": "compute",
    "google_compute_instance": "compute",
    "google_compute_region_instance_template": "compute",
    "google_bigquery_dataset": "bigquery",
    "google_sql_database_instance": "sqladmin",
    "google_artifact_registry_repository": "artifactregistry",
    "google_managed_kafka_cluster": "managedkafka",
    "google_cloud_run_v2_worker_pool": "run",
}


@rule
def every_metric_finds_a_line_that_is_written(plan: Plan) -> Iterator[str]:
    # Tidemill's own tests hold lines.txt and what the daemon writes together.
    lines = (Path(__file__).parent / "lines.txt").read_text().splitlines()
    for address, values in resources(plan, "google_logging_metric"):
        extractors = [values.get("value_extractor") or "", *(values.get("label_extractors") or {}).values()]
        patterns = re.findall(r'=~"(.*?)"', values["filter"])
        patterns += [pattern for it in extractors for pattern in re.findall(r'REGEXP_EXTRACT\(.*?, "(.*)"\)', it)]
        if not any(all(re.search(pattern, line) for pattern in patterns) for line in lines):
            yield f"{address}: {patterns}"


def broken(plan: Plan) -> Iterator[tuple[str, str]]:
    """Name of the rule, and what breaks it."""
    for check in RULES:
        for what in check(plan):
            yield check.__name__, what
