"""hvac's public calls against a server that is not initialised yet, with what a user of hvac expects of the answers.

Named calls where hvac has one, its generic read, write, list and delete elsewhere. Any difference is an exception.
"""

import os
import sys

import hvac
from hvac import exceptions

address = os.environ["VAULT_ADDR"]
folder = os.environ["AUDIT_FOLDER"]


def client(token=None):
    return hvac.Client(url=address, token=token)


def refused(kind, call, text=""):
    """The error's class is what users catch, its text what they match on."""
    try:
        call()
    except kind as error:
        assert text in str(error), f"{error} lacks {text}"
        return
    raise AssertionError(f"was allowed, in place of {kind.__name__} {text}")


def same(found, wanted):
    assert found == wanted, f"{found!r} is not {wanted!r}"


def within(wanted, found):
    for name, value in wanted.items():
        same(found[name], value)


def done(response):
    same(response.status_code, 204)


def generic(root, method, path, headers=None, **body):
    """A request of hvac's adapter, for what it has no call of its own."""
    return root.adapter.request(method, f"/v1/{path}", headers=headers, json=body or None)


def start():
    c = client()
    same(c.sys.read_init_status(), {"initialized": False})
    same(c.sys.is_initialized(), False)
    made = c.sys.initialize(secret_shares=3, secret_threshold=2)
    same([len(made["keys"]), len(made["keys_base64"])], [3, 3])
    refused(exceptions.InvalidRequest, lambda: c.sys.initialize(3, 2), "already initialized")
    within({"sealed": True, "t": 2, "n": 3, "progress": 0}, c.sys.read_seal_status())
    refused(exceptions.VaultDown, lambda: c.read("sys/internal/ui/mounts/kv1"), "sealed")
    refused(exceptions.InvalidRequest, lambda: c.sys.submit_unseal_key("no share"))
    within({"sealed": True, "progress": 1}, c.sys.submit_unseal_key(made["keys"][0]))
    within({"progress": 0}, c.sys.submit_unseal_key(reset=True))
    within({"sealed": False}, c.sys.submit_unseal_keys(made["keys"][:2]))
    same(c.sys.is_sealed(), False)
    same(c.sys.read_health_status().status_code, 200)
    within({"initialized": True, "sealed": False, "standby": False}, c.sys.read_health_status(method="GET"))
    same(c.sys.read_leader_status()["ha_enabled"], False)
    same(c.is_authenticated(), False)
    c.token = made["root_token"]
    same(c.is_authenticated(), True)
    refused(exceptions.InvalidPath, c.secrets.identity.list_entities)
    refused(exceptions.InvalidPath, c.secrets.identity.list_entity_aliases)
    return c, made["keys"]


def mounts(c):
    done(c.sys.enable_secrets_engine("kv", path="kv1", description="first"))
    done(c.sys.enable_secrets_engine("kv", path="kv2", options={"version": "2"}, config={"max_lease_ttl": "2h"}))
    refused(exceptions.InvalidRequest, lambda: c.sys.enable_secrets_engine("kv", path="kv1"), "path is already in use at kv1/")
    refused(exceptions.InvalidRequest, lambda: c.sys.enable_secrets_engine("none"), "plugin not found in the catalog")
    listed = c.sys.list_mounted_secrets_engines()["data"]
    within({"type": "kv", "description": "first"}, listed["kv1/"])
    same(listed["sys/"]["type"], "system")
    same(c.sys.retrieve_mount_option("kv2", "version"), "2")
    within({"max_lease_ttl": 7200, "options": {"version": "2"}}, c.sys.read_mount_configuration("kv2")["data"])
    done(c.sys.tune_mount_configuration("kv2", description="second", default_lease_ttl="30m", audit_non_hmac_request_keys=["team"]))
    within({"description": "second", "default_lease_ttl": 1800, "audit_non_hmac_request_keys": ["team"]}, c.sys.read_mount_configuration("kv2")["data"])
    headers = c.sys.tune_mount_configuration("kv2", passthrough_request_headers=["X-Team"])
    assert "no effect" in headers["warnings"][0]
    refused(exceptions.InvalidRequest, lambda: c.sys.tune_mount_configuration("kv2", default_lease_ttl="9h"))
    refused(exceptions.InvalidRequest, lambda: c.sys.read_mount_configuration("none"), 'cannot fetch sysview for path "none/"')
    within({"type": "kv", "options": {"version": "2"}}, c.read("sys/mounts/kv2")["data"])
    refused(exceptions.InvalidRequest, lambda: c.read("sys/mounts/none"), "No secret engine mount at none/")
    within({"path": "kv2/", "type": "kv"}, c.read("sys/internal/ui/mounts/kv2/a/b")["data"])
    assert "kv1/" in c.read("sys/internal/ui/mounts")["data"]["secret"]
    catalog = c.read("sys/plugins/catalog")["data"]
    assert "kv" in catalog["secret"] and "approle" in catalog["auth"]
    assert "userpass" in c.list("sys/plugins/catalog/auth")["data"]["keys"]
    within({"name": "kv", "builtin": True}, c.read("sys/plugins/catalog/secret/kv")["data"])
    assert c.write_data("sys/plugins/reload/backend", data={"plugin": "kv"})["data"]["reload_id"]


def kv1(c):
    kv = c.secrets.kv.v1
    done(kv.create_or_update_secret("team/a", {"user": "ada", "count": 3}, mount_point="kv1"))
    same(kv.read_secret("team/a", mount_point="kv1")["data"], {"user": "ada", "count": 3})
    same(kv.read_secret("team//a", mount_point="kv1")["data"]["user"], "ada")  # by a redirect
    same(kv.list_secrets("team", mount_point="kv1")["data"]["keys"], ["a"])
    same(c.read("kv1/none"), None)
    same(c.list("kv1/none"), None)
    refused(exceptions.InvalidPath, lambda: kv.read_secret("none", mount_point="kv1"))
    refused(exceptions.InvalidRequest, lambda: generic(c, "post", "kv1/team/b"), "missing data fields")
    refused(exceptions.InvalidPath, lambda: kv.read_secret("a", mount_point="kv1x"), 'no handler for route "kv1x/a"')
    done(kv.delete_secret("team/a", mount_point="kv1"))
    same(c.read("kv1/team/a"), None)


def kv2(c):
    kv = c.secrets.kv.v2
    done(kv.configure(max_versions=5, cas_required=False, delete_version_after="72h", mount_point="kv2"))
    within({"max_versions": 5, "cas_required": False, "delete_version_after": "72h0m0s"}, kv.read_configuration(mount_point="kv2")["data"])
    first = kv.create_or_update_secret("team/a", {"user": "ada", "deep": {"x": 1}}, mount_point="kv2")
    within({"version": 1, "destroyed": False, "deletion_time": first["data"]["deletion_time"]}, first["data"])
    kv.create_or_update_secret("team/a", {"user": "bob"}, cas=1, mount_point="kv2")
    refused(exceptions.InvalidRequest, lambda: kv.create_or_update_secret("team/a", {}, cas=1, mount_point="kv2"), "check-and-set")
    refused(exceptions.InvalidRequest, lambda: generic(c, "post", "kv2/data/team/a", other=1), "no data provided")
    same(kv.read_secret_version("team/a", version=1, mount_point="kv2")["data"]["data"]["user"], "ada")
    same(kv.read_secret("team/a", mount_point="kv2", raise_on_deleted_version=True)["data"]["metadata"]["version"], 2)
    same(kv.read_secret("team//a", mount_point="kv2", raise_on_deleted_version=True)["data"]["data"]["user"], "bob")
    refused(exceptions.InvalidPath, lambda: kv.read_secret("none", mount_point="kv2", raise_on_deleted_version=True))
    kv.patch("team/a", {"more": "yes"}, mount_point="kv2")
    merge = {"Content-Type": "application/merge-patch+json"}
    changed = generic(c, "patch", "kv2/data/team/a", merge, data={"more": None, "other": "1"}, options={"cas": 3})
    same(changed["data"]["version"], 4)
    same(kv.read_secret("team/a", mount_point="kv2", raise_on_deleted_version=True)["data"]["data"], {"user": "bob", "other": "1"})
    refused(exceptions.InvalidPath, lambda: generic(c, "patch", "kv2/data/none", merge, data={"a": 1}))
    refused(exceptions.InvalidRequest, lambda: generic(c, "patch", "kv2/data/team/a", merge, data={"a": 1}, options={"cas": 1}), "check-and-set")
    same(c.read("kv2/subkeys/team/a")["data"]["subkeys"], {"user": None, "other": None})
    done(kv.delete_latest_version_of_secret("team/a", mount_point="kv2"))
    refused(exceptions.InvalidPath, lambda: kv.read_secret("team/a", mount_point="kv2", raise_on_deleted_version=True))
    deleted = kv.read_secret("team/a", mount_point="kv2", raise_on_deleted_version=False)
    same([deleted["data"]["data"], deleted["data"]["metadata"]["version"]], [None, 4])
    done(kv.undelete_secret_versions("team/a", [4], mount_point="kv2"))
    done(kv.delete_secret_versions("team/a", [1, 2], mount_point="kv2"))
    done(kv.destroy_secret_versions("team/a", [1], mount_point="kv2"))
    done(kv.update_metadata("team/a", max_versions=7, custom_metadata={"owner": "ada"}, mount_point="kv2"))
    generic(c, "patch", "kv2/metadata/team/a", merge, custom_metadata={"unit": "red"})
    assert generic(c, "patch", "kv2/metadata/team/a", merge, max_versions=7, other=1)["warnings"]
    metadata = kv.read_secret_metadata("team/a", mount_point="kv2")["data"]
    within({"max_versions": 7, "current_version": 4, "custom_metadata": {"owner": "ada", "unit": "red"}}, metadata)
    same(metadata["versions"]["1"]["destroyed"], True)
    same(kv.list_secrets("", mount_point="kv2")["data"]["keys"], ["team/"])
    same(kv.list_secrets("team", mount_point="kv2")["data"]["keys"], ["a"])
    refused(exceptions.InvalidPath, lambda: kv.list_secrets("none", mount_point="kv2"))
    refused(exceptions.InvalidPath, lambda: kv.read_secret_metadata("none", mount_point="kv2"))
    kv.create_or_update_secret("team/b", {"a": "b"}, mount_point="kv2")
    done(kv.delete_metadata_and_all_versions("team/b", mount_point="kv2"))


def policies(c):
    rules = 'path "kv2/data/poor/*" { capabilities = ["create", "read"] }'
    done(c.sys.create_or_update_acl_policy("poor", rules))
    same(c.sys.read_acl_policy("poor")["data"]["policy"], rules)
    assert {"poor", "default", "root"} <= set(c.sys.list_acl_policies()["data"]["keys"])
    refused(exceptions.InvalidRequest, lambda: c.sys.create_or_update_acl_policy("wrong", "path {"))
    refused(exceptions.InvalidPath, lambda: c.sys.read_acl_policy("none"))
    refused(exceptions.InvalidRequest, lambda: c.sys.delete_acl_policy("default"), "cannot delete default policy")
    done(c.sys.create_or_update_policy("old", {"path": {"kv1/*": {"capabilities": ["read"]}}}))
    assert "kv1/*" in c.get_policy("old")
    same(c.sys.read_policy("old")["data"]["name"], "old")
    assert "old" in c.sys.list_policies()["data"]["policies"]
    refused(exceptions.InvalidPath, lambda: c.sys.read_policy("none"))
    done(c.sys.delete_policy("old"))
    done(c.sys.create_or_update_acl_policy("gone", rules))
    done(c.sys.delete_acl_policy("gone"))
    words = 'length = 20\nrule "charset" { charset = "abcdef0123" min-chars = 1 }'
    c.write_data("sys/policies/password/short", data={"policy": words})
    same(c.read("sys/policies/password/short")["data"]["policy"], words)
    same(c.list("sys/policies/password")["data"]["keys"], ["short"])
    same(len(c.read("sys/policies/password/short/generate")["data"]["password"]), 20)
    c.delete("sys/policies/password/short")


def tokens(c):
    t = c.auth.token
    made = t.create(policies=["poor"], ttl="1h", meta={"team": "red"}, display_name="x")["auth"]
    same([made["policies"], made["lease_duration"], made["renewable"]], [["default", "poor"], 3600, True])
    refused(exceptions.InvalidRequest, lambda: t.create(ttl="soon"))
    poor = client(made["client_token"])
    refused(exceptions.Forbidden, lambda: poor.auth.token.create(policies=["root"]), "permission denied")
    same(poor.auth.token.lookup_self()["data"]["meta"], {"team": "red"})
    same(t.lookup(made["client_token"])["data"]["display_name"], "token-x")
    same(c.lookup_token(made["accessor"], accessor=True)["data"]["id"], "")
    refused(exceptions.Forbidden, lambda: t.lookup("hvs.none"))
    refused(exceptions.Forbidden, lambda: client("hvs.none").auth.token.lookup_self())
    refused((exceptions.InvalidRequest, exceptions.Forbidden), lambda: t.lookup_accessor("none"), "invalid accessor")
    same(t.renew(made["client_token"], increment="30m")["auth"]["lease_duration"], 1800)
    refused((exceptions.InvalidRequest, exceptions.Forbidden), lambda: t.renew("hvs.none"))
    same(poor.auth.token.renew_self(increment="20m")["auth"]["lease_duration"], 1200)
    refused(exceptions.Forbidden, lambda: client("hvs.none").auth.token.renew_self())
    same(t.renew_accessor(made["accessor"])["auth"]["accessor"], made["accessor"])
    orphan = t.create_orphan(policies=["poor"], ttl="10m")["auth"]
    same(orphan["orphan"], True)
    done(t.create_or_update_role("reader", allowed_policies=["poor"], token_period="1h", orphan=True))
    within({"allowed_policies": ["poor"], "orphan": True, "token_period": 3600}, t.read_role("reader")["data"])
    same(t.list_roles()["data"]["keys"], ["reader"])
    assert c.write_data("auth/token/roles/reader", data={"orphan": True, "other": 1})["warnings"]
    role = t.create(role_name="reader")["auth"]
    same([role["lease_duration"], role["orphan"]], [3600, True])
    refused(exceptions.InvalidRequest, lambda: t.create(role_name="reader", policies=["root"]))
    refused(exceptions.InvalidRequest, lambda: t.create(role_name="none"))
    refused(exceptions.InvalidPath, lambda: t.read_role("none"))
    done(t.delete_role("reader"))
    refused(exceptions.InvalidPath, lambda: t.list_roles())
    assert made["accessor"] in t.list_accessors()["data"]["keys"]
    done(t.revoke_accessor(orphan["accessor"]))
    refused(exceptions.Forbidden, lambda: t.lookup(orphan["client_token"]))
    mother = t.create(policies=["root"])["auth"]["client_token"]
    child = client(mother).auth.token.create(policies=["poor"])["auth"]["client_token"]
    done(t.revoke_and_orphan_children(mother))
    same(t.lookup(child)["data"]["orphan"], True)
    done(client(child).auth.token.revoke_self())
    refused(exceptions.Forbidden, lambda: t.lookup(child))
    other = t.create(policies=["poor"])["auth"]["client_token"]
    done(t.revoke(other))
    refused(exceptions.InvalidRequest, lambda: generic(c, "post", "auth/token/revoke"))
    t.tidy()
    capabilities = c.sys.get_capabilities(["kv2/data/poor/x", "sys/mounts"], token=made["client_token"])
    within({"kv2/data/poor/x": ["create", "read"], "sys/mounts": ["deny"]}, capabilities["data"])
    same(c.sys.get_capabilities(["sys/mounts"])["data"]["sys/mounts"], ["root"])
    same(c.sys.get_capabilities(["sys/mounts"], accessor=made["accessor"])["data"]["sys/mounts"], ["deny"])
    return poor


def denials(poor):
    kv = poor.secrets.kv
    kv.v2.create_or_update_secret("poor/x", {"a": "b"}, mount_point="kv2")
    denied = "permission denied"
    refused(exceptions.Forbidden, lambda: kv.v2.create_or_update_secret("x", {"a": "b"}, mount_point="kv2"), denied)
    refused(exceptions.Forbidden, lambda: kv.v2.read_secret("x", mount_point="kv2", raise_on_deleted_version=True), denied)
    merge = {"Content-Type": "application/merge-patch+json"}
    refused(exceptions.Forbidden, lambda: generic(poor, "patch", "kv2/data/poor/x", merge, data={"a": 1}), denied)
    refused(exceptions.Forbidden, lambda: kv.v1.read_secret("x", mount_point="kv1"), denied)
    for path in ("sys/mounts", "sys/mounts/kv1", "sys/mounts/kv1/tune"):
        refused(exceptions.Forbidden, lambda path=path: poor.read(path), denied)
    refused(exceptions.Forbidden, lambda: poor.read("sys/internal/ui/mounts/kv1"), "preflight capability check returned 403")


def approle(c):
    a = c.auth.approle
    done(c.sys.enable_auth_method("approle"))
    refused(exceptions.InvalidPath, lambda: a.list_roles())
    done(a.create_or_update_approle("app", token_policies=["poor"], token_ttl="20m", secret_id_num_uses=3))
    within({"token_policies": ["poor"], "token_ttl": 1200, "secret_id_num_uses": 3}, a.read_role("app")["data"])
    refused(exceptions.InvalidPath, lambda: a.read_role("none"))
    refused(exceptions.InvalidRequest, lambda: a.create_or_update_approle("app", token_ttl="soon"))
    same(a.list_roles()["data"]["keys"], ["app"])
    said = c.write_data("auth/approle/role/app", data={"token_ttl": "20m", "tokens": 1})
    same(said["warnings"], ["Endpoint ignored these unrecognized parameters: [tokens]"])
    done(a.update_role_id("app", "the-role-id-of-app"))
    same(a.read_role_id("app")["data"]["role_id"], "the-role-id-of-app")
    refused(exceptions.InvalidPath, lambda: a.list_secret_id_accessors("app"))
    made = a.generate_secret_id("app", metadata={"host": "h1"})["data"]
    same(a.list_secret_id_accessors("app")["data"]["keys"], [made["secret_id_accessor"]])
    same(a.read_secret_id("app", made["secret_id"])["data"]["metadata"], {"host": "h1"})
    same(a.read_secret_id_accessor("app", made["secret_id_accessor"])["data"]["secret_id_num_uses"], 3)
    login = client().auth.approle.login("the-role-id-of-app", made["secret_id"])["auth"]
    same([login["policies"], login["lease_duration"], login["metadata"]["role_name"]], [["default", "poor"], 1200, "app"])
    refused(exceptions.InvalidRequest, lambda: client().auth.approle.login("the-role-id-of-app", "wrong"), "invalid role or secret ID")
    custom = a.create_custom_secret_id("app", "a-secret-id-of-my-own-31")["data"]
    same(custom["secret_id"], "a-secret-id-of-my-own-31")
    done(a.destroy_secret_id("app", custom["secret_id"]))
    done(a.destroy_secret_id_accessor("app", made["secret_id_accessor"]))
    same(a.read_secret_id("app", made["secret_id"]).status_code, 204)
    refused(exceptions.VaultError, lambda: a.read_secret_id_accessor("app", made["secret_id_accessor"]))
    wrapped = a.generate_secret_id("app", wrap_ttl="60s")
    same([wrapped["data"], wrapped["wrap_info"]["ttl"]], [None, 60])
    same(len(client(wrapped["wrap_info"]["token"]).sys.unwrap()["data"]["secret_id"]), 36)
    done(a.delete_role("app"))


def userpass(c):
    u = c.auth.userpass
    done(c.sys.enable_auth_method("userpass", description="people"))
    refused(exceptions.InvalidRequest, lambda: c.sys.enable_auth_method("userpass"), "path is already in use at userpass/")
    assert "userpass/" in c.sys.list_auth_methods()["data"]
    within({"type": "userpass", "description": "people"}, c.read("sys/auth/userpass")["data"])
    done(c.sys.tune_auth_method("userpass", default_lease_ttl="15m", token_type="default-service"))
    within({"default_lease_ttl": 900, "token_type": "default-service"}, c.sys.read_auth_method_tuning("userpass")["data"])
    refused(exceptions.InvalidPath, lambda: u.list_user())
    done(u.create_or_update_user("ada", password="engine-no-1", policies="poor"))
    done(u.create_or_update_user("far", password="engine-no-2", token_bound_cidrs="192.0.2.0/24"))
    same(u.list_user()["data"]["keys"], ["ada", "far"])
    within({"token_policies": ["poor"]}, u.read_user("ada")["data"])
    refused(exceptions.InvalidPath, lambda: u.read_user("none"))
    done(u.update_password_on_user("ada", "engine-no-3"))
    done(generic(c, "post", "auth/userpass/users/ada/policies", token_policies=["poor"]))
    refused(exceptions.InvalidRequest, lambda: client().auth.userpass.login("ada", "engine-no-1"), "invalid username or password")
    refused(exceptions.Forbidden, lambda: client().auth.userpass.login("far", "engine-no-2"), "permission denied")
    ada = client()
    login = ada.auth.userpass.login("ada", "engine-no-3")["auth"]
    same([login["metadata"], login["lease_duration"]], [{"username": "ada"}, 900])
    same(ada.is_authenticated(), True)
    done(u.delete_user("far"))
    return login


def identity(c, login):
    i = c.secrets.identity
    accessor = c.sys.list_auth_methods()["data"]["userpass/"]["accessor"]
    known = i.read_entity(login["entity_id"])["data"]
    same(known["aliases"][0]["name"], "ada")
    refused(exceptions.InvalidPath, lambda: i.read_entity("none"))
    eva = i.create_or_update_entity("eva", metadata={"team": "red"}, policies=["poor"])["data"]["id"]
    same(i.read_entity(eva)["data"]["metadata"], {"team": "red"})
    done(i.create_or_update_entity("eva", policies=["poor", "more"]))
    same(sorted(i.read_entity_by_name("eva")["data"]["policies"]), ["more", "poor"])
    refused(exceptions.InvalidPath, lambda: i.read_entity_by_name("none"))
    done(i.update_entity(eva, metadata={"team": "blue"}))
    tom = i.create_or_update_entity_by_name("tom", metadata={"a": "b"})["data"]["id"]
    done(i.create_or_update_entity_by_name("tom", metadata={"a": "c"}))
    assert {eva, tom} <= set(i.list_entities()["data"]["keys"])
    assert {eva, tom} <= set(i.list_entities(method="GET")["data"]["keys"])
    assert {"eva", "tom"} <= set(i.list_entities_by_name()["data"]["keys"])
    alias = i.create_or_update_entity_alias("eva", eva, accessor)["data"]["id"]
    within({"name": "eva", "canonical_id": eva, "mount_accessor": accessor}, i.read_entity_alias(alias)["data"])
    refused(exceptions.InvalidPath, lambda: i.read_entity_alias("none"))
    i.update_entity_alias(alias, "eve", eva, accessor)
    same(i.read_entity_alias(alias)["data"]["name"], "eve")
    refused(exceptions.InvalidRequest, lambda: i.update_entity_alias(alias, "eve", eva, "none"))
    assert alias in i.list_entity_aliases()["data"]["keys"]
    same(i.lookup_entity(name="eva")["data"]["id"], eva)
    same(i.lookup_entity(alias_name="eve", alias_mount_accessor=accessor)["data"]["id"], eva)
    same(i.lookup_entity(name="none").status_code, 204)

    red = i.create_or_update_group("red", policies=["poor"], member_entity_ids=[eva])["data"]["id"]
    within({"member_entity_ids": [eva], "type": "internal"}, i.read_group(red)["data"])
    refused(exceptions.InvalidPath, lambda: i.read_group("none"))
    i.create_or_update_group("red", group_id=red, policies=["poor", "more"])
    done(i.update_group(red, "red", policies=["poor"], member_entity_ids=[eva, tom]))
    refused(exceptions.InvalidRequest, lambda: generic(c, "post", f"identity/group/id/{red}", member_entity_ids=["none"]))
    same(sorted(i.read_group_by_name("red")["data"]["member_entity_ids"]), sorted([eva, tom]))
    refused(exceptions.InvalidPath, lambda: i.read_group_by_name("none"))
    i.create_or_update_group_by_name("blue", policies=["poor"])
    i.create_or_update_group_by_name("blue", policies=["more"])
    refused(exceptions.InvalidRequest, lambda: generic(c, "post", "identity/group/name/blue", member_group_ids=["none"]))
    assert red in i.list_groups()["data"]["keys"]
    assert {"red", "blue"} <= set(i.list_groups_by_name()["data"]["keys"])
    same(i.lookup_group(name="red")["data"]["id"], red)
    same(i.lookup_group(name="none").status_code, 204)
    refused(exceptions.InvalidPath, lambda: i.list_group_aliases())
    outer = i.create_or_update_group("outer", group_type="external", policies=["poor"])["data"]["id"]
    named = i.create_or_update_group_alias("theirs", mount_accessor=accessor, canonical_id=outer)["data"]["id"]
    i.update_group_alias(named, "theirs-too", mount_accessor=accessor, canonical_id=outer)
    same(i.read_group_alias(named)["data"]["name"], "theirs-too")
    same(i.list_group_aliases()["data"]["keys"], [named])
    done(i.delete_group_alias(named))
    done(i.delete_group(outer))
    done(i.delete_group_by_name("blue"))

    done(i.merge_entities([tom], eva))
    refused(exceptions.InvalidPath, lambda: i.read_entity(tom))
    done(i.delete_entity_alias(alias))
    done(i.delete_group(red))
    done(i.delete_entity(eva))
    i.create_or_update_entity_by_name("tom")
    done(i.delete_entity_by_name("tom"))


def leases(c, login):
    prefix = "auth/userpass/login/ada"
    keys = c.sys.list_leases(prefix)["data"]["keys"]
    same(len(keys), 1)
    refused(exceptions.InvalidPath, lambda: c.sys.list_leases("auth/none"))
    lease = f"{prefix}/{keys[0]}"
    within({"id": lease, "renewable": True}, c.sys.read_lease(lease)["data"])
    refused(exceptions.InvalidRequest, lambda: c.sys.read_lease("none"), "invalid lease")
    refused(exceptions.InvalidRequest, lambda: c.sys.renew_lease("none"))
    within({"lease_count": 0}, generic(c, "get", "sys/leases/count?type=irrevocable")["data"])
    same(c.sys.revoke_lease(lease).status_code, 202)
    refused(exceptions.Forbidden, lambda: c.auth.token.lookup(login["client_token"]))
    client().auth.userpass.login("ada", "engine-no-3")
    c.sys.revoke_prefix("auth/userpass/login/ada")
    client().auth.userpass.login("ada", "engine-no-3")
    done(generic(c, "put", "sys/leases/revoke-prefix/auth/userpass/login/ada", sync=True))
    done(c.sys.revoke_force("auth/userpass"))
    generic(c, "post", "sys/leases/tidy")
    refused(exceptions.InvalidPath, lambda: c.sys.list_leases("auth/userpass"))


def wrapping(c):
    info = c.sys.wrap({"a": "b"}, ttl=120)["wrap_info"]
    same([info["ttl"], info["creation_path"]], [120, "sys/wrapping/wrap"])
    within({"creation_path": "sys/wrapping/wrap", "creation_ttl": 120}, c.write_data("sys/wrapping/lookup", data={"token": info["token"]})["data"])
    again = c.write_data("sys/wrapping/rewrap", data={"token": info["token"]})["wrap_info"]
    invalid = "wrapping token is not valid or does not exist"
    refused(exceptions.InvalidRequest, lambda: c.sys.unwrap(info["token"]), invalid)
    same(c.sys.unwrap(again["token"])["data"], {"a": "b"})
    refused(exceptions.InvalidRequest, lambda: client().sys.unwrap(again["token"]), invalid)
    for call in ("lookup", "rewrap"):
        refused(exceptions.InvalidRequest, lambda call=call: c.write_data(f"sys/wrapping/{call}", data={"token": "hvs.none"}))
    read = c.read("kv2/data/poor/x", wrap_ttl="1m")["wrap_info"]
    same(c.sys.unwrap(read["token"])["data"]["data"], {"a": "b"})
    c.write_data("cubbyhole/mine", data={"a": "b"})
    same(c.read("cubbyhole/mine")["data"], {"a": "b"})
    same(c.list("cubbyhole/")["data"]["keys"], ["mine"])
    c.write_data("cubbyhole/deep/one", data={"a": "b"})
    same(c.list("cubbyhole/deep")["data"]["keys"], ["one"])
    c.delete("cubbyhole/mine")
    same(c.read("cubbyhole/mine"), None)


def quotas(c):
    refused(exceptions.InvalidPath, lambda: c.sys.read_quota("slow"))
    done(c.sys.create_or_update_quota("slow", rate=1000, path="kv1/"))
    within({"name": "slow", "rate": 1000, "path": "kv1/"}, c.sys.read_quota("slow")["data"])
    same(c.sys.list_quotas()["data"]["keys"], ["slow"])
    done(c.sys.delete_quota("slow"))
    c.write_data("sys/quotas/lease-count/few", data={"max_leases": 100, "path": "kv1/"})
    within({"max_leases": 100}, c.read("sys/quotas/lease-count/few")["data"])
    same(c.list("sys/quotas/lease-count")["data"]["keys"], ["few"])
    c.delete("sys/quotas/lease-count/few")
    c.write_data("sys/quotas/config", data={"enable_rate_limit_response_headers": True})
    within({"enable_rate_limit_response_headers": True}, c.read("sys/quotas/config")["data"])


def audit(c):
    listed = c.sys.list_enabled_audit_devices()["data"]
    same(listed["file/"]["type"], "file")
    done(c.sys.enable_audit_device("file", path="more", description="more", options={"file_path": f"{folder}/hvac.log"}))
    within({"type": "file", "description": "more"}, c.sys.list_enabled_audit_devices()["data"]["more/"])
    refused(exceptions.InvalidRequest, lambda: c.sys.enable_audit_device("file", path="out", options={"file_path": "/etc/out.log"}))
    assert c.sys.calculate_hash("file", "text")["data"]["hash"].startswith("hmac-sha256:")
    done(c.sys.disable_audit_device("more"))


def operations(c):
    same(len(c.write_data("sys/tools/random/16", data={"format": "hex"})["data"]["random_bytes"]), 32)
    assert c.write_data("sys/tools/random", data={"bytes": 8})["data"]["random_bytes"]
    hashed = c.write_data("sys/tools/hash", data={"input": "dGVzdA==", "algorithm": "sha2-256"})["data"]["sum"]
    same(hashed, "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")
    headers = "sys/config/auditing/request-headers"
    done(generic(c, "post", f"{headers}/X-Team", hmac=True))
    same(list(c.read(f"{headers}/X-Team")["data"].values()), [{"hmac": True}])
    assert "x-team" in {name.lower() for name in c.read(headers)["data"]["headers"]}
    c.delete(f"{headers}/X-Team")
    c.write_data("sys/config/cors", data={"allowed_origins": ["https://ui.example.com"]})
    within({"enabled": True, "allowed_origins": ["https://ui.example.com"]}, c.read("sys/config/cors")["data"])
    c.delete("sys/config/cors")
    c.write_data("sys/config/ui/headers/X-Frame-Options", data={"values": ["DENY"]})
    same(c.read("sys/config/ui/headers/X-Frame-Options")["data"]["value"], "DENY")
    same([name.lower() for name in c.list("sys/config/ui/headers")["data"]["keys"]], ["x-frame-options"])
    c.delete("sys/config/ui/headers/X-Frame-Options")
    assert c.read("sys/host-info")["data"]["host"]
    assert len(c.read("sys/ha-status")["data"]["nodes"]) == 1
    assert c.list("sys/version-history")["data"]["keys"]
    assert c.read("sys/in-flight-req")
    same(c.read("sys/loggers")["data"], {"writ": "info"})
    done(generic(c, "post", "sys/loggers/writ", level="info"))
    assert "/sys/mounts" in c.read("sys/internal/specs/openapi")["paths"]
    metrics = generic(c, "get", "sys/metrics?format=prometheus")
    assert "# TYPE" in (metrics if isinstance(metrics, str) else metrics.text)


def moves(c):
    c.secrets.kv.v1.create_or_update_secret("stays", {"a": "b"}, mount_point="kv1")
    moved = c.sys.move_backend("kv1", "moved")
    migration = moved["data"]["migration_id"]
    within({"source_mount": "kv1/", "target_mount": "moved/"}, c.read(f"sys/remount/status/{migration}")["data"]["migration_info"])
    same(c.secrets.kv.v1.read_secret("stays", mount_point="moved")["data"], {"a": "b"})
    gone = "no handler for route"
    refused(exceptions.InvalidPath, lambda: c.secrets.kv.v1.create_or_update_secret("stays", {"a": "b"}, mount_point="kv1"), gone)
    refused(exceptions.InvalidPath, lambda: c.secrets.kv.v1.delete_secret("stays", mount_point="kv1"), gone)
    refused(exceptions.InvalidRequest, lambda: c.sys.move_backend("none", "x"), "no matching mount at")
    refused(exceptions.InvalidRequest, lambda: c.sys.move_backend("auth/userpass", "people"))
    c.sys.move_backend("auth/userpass", "auth/people")
    done(c.sys.disable_auth_method("people"))
    done(c.sys.disable_auth_method("people"))  # gone already
    done(c.sys.disable_secrets_engine("moved"))
    done(c.sys.disable_secrets_engine("moved"))


def keys(c, shares):
    within({"term": 1}, c.sys.get_encryption_key_status()["data"])
    done(c.sys.rotate_encryption_key())
    done(generic(c, "put", "sys/rotate/keyring"))
    within({"term": 3}, c.sys.get_encryption_key_status()["data"])

    within({"started": False}, c.sys.read_rekey_progress())
    c.sys.start_rekey(secret_shares=1, secret_threshold=1)
    done(c.sys.cancel_rekey())
    nonce = c.sys.start_rekey(secret_shares=2, secret_threshold=2, require_verification=True)["nonce"]
    new = c.sys.rekey_multi(shares[:2], nonce=nonce)
    same([len(new["keys"]), new["verification_required"]], [2, True])
    same(c.sys.read_rekey_verify_progress()["progress"], 0)
    c.sys.rekey_verify(new["keys"][0], new["verification_nonce"])
    verification = c.sys.cancel_rekey_verify() and c.sys.read_rekey_verify_progress()["nonce"]
    same(c.sys.rekey_verify_multi(new["keys"], verification)["complete"], True)

    for base in ("generate-root", "generate-root-token"):
        within({"started": False}, generic(c, "get", f"sys/{base}/attempt"))
        refused(exceptions.InvalidRequest, lambda base=base: generic(c, "put", f"sys/{base}/attempt", otp="short"))
        started = generic(c, "put", f"sys/{base}/attempt", attempt=1)
        for share in new["keys"]:
            last = generic(c, "put", f"sys/{base}/update", nonce=started["nonce"], key=share)
        same([last["complete"], last["progress"]], [True, 2])
        assert last["encoded_root_token"]
    c.sys.start_root_token_generation()
    within({"started": True, "required": 2}, c.sys.read_root_generation_progress())
    done(c.sys.cancel_root_generation())
    return new["keys"]


def end(c, shares):
    c.sys.step_down()
    done(c.sys.seal())
    within({"sealed": True, "n": 2}, c.sys.read_seal_status())
    c.sys.submit_unseal_keys(shares)
    same(c.auth.token.lookup_self()["data"]["policies"], ["root"])
    c.logout(revoke_token=True)


def main():
    c, shares = start()
    mounts(c)
    kv1(c)
    kv2(c)
    policies(c)
    poor = tokens(c)
    denials(poor)
    approle(c)
    login = userpass(c)
    identity(c, login)
    leases(c, login)
    wrapping(c)
    quotas(c)
    audit(c)
    operations(c)
    moves(c)
    end(c, keys(c, shares))


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
