"""`chainnode member`: how members, their keys and roles, the policy and the catalogue change.

Proposals and votes are those of `chainnode validator`. One thing needs no vote: an officer stops a source of its own
member at once (`member retire`), through any node.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from chainnode.cli.accreditation import (
    accredit,
    accreditations,
    end_accreditation,
    propose_scheme_policy,
    propose_standards,
)
from chainnode.cli.context import hash_of, settings
from chainnode.cli.main import Group
from chainnode.cli.output import say, show, show_rows
from chainnode.cli.submit import timeout_option, wait_option
from chainnode.cli.validator import add as add_validator
from chainnode.cli.validator import (
    approve,
    officer_option,
    propose_action,
    propose_rules,
    proposing,
    reject,
    send_event,
    status,
    withdraw,
)
from chainnode.cli.validator import rekey as rekey_validator
from chainnode.cli.validator import remove as remove_validator
from chainnode.cli.voucher_proposals import propose_suspend_wallet, propose_voucher_policy

COLUMNS = ("id", "name", "roles", "agents", "sources", "officers", "validators", "excluded")


@click.group(cls=Group)
def member() -> None:
    """Members: list them; propose to admit or exclude one; their sources and officers."""


@click.group(cls=Group)
def propose() -> None:
    """Propose a change of members, their keys, officers and roles, of validators, the policy or the catalogue."""


member.add_command(propose)
propose.add_command(add_validator, "add-validator")
propose.add_command(rekey_validator, "rekey-validator")
propose.add_command(remove_validator, "remove-validator")
propose.add_command(propose_rules, "rules")
for command in (status, approve, reject, withdraw):
    member.add_command(command)
for command in (accredit, end_accreditation):
    member.add_command(command)
    propose.add_command(command)
member.add_command(accreditations)
propose.add_command(propose_scheme_policy, "scheme-policy")
propose.add_command(propose_voucher_policy)
propose.add_command(propose_suspend_wallet)
propose.add_command(propose_standards, "standards")


@member.command("list")
def list_() -> None:
    """Show the members with their roles, codes, sources and officers, also those that were excluded."""
    client = settings().client()
    rows = client.members()
    if settings().machine:
        show({"members": rows})
        return
    for row in rows:
        removed = sum(source["removed"] for source in row["sources"])
        row["sources"] = f"{len(row['sources']) - removed}" + (f", {removed} removed" if removed else "")
        row["officers"] = len(row["officers"])
        row |= {key: ", ".join(row[key]) for key in ("roles", "agents", "validators")}
    show_rows(rows, columns=COLUMNS, wrap="members")


@propose.command()
@click.argument("file", type=click.Path(path_type=Path))
@proposing
def add(file: Path, **options: Any) -> int:
    """Propose to admit the member of FILE: its config/member.json, as `chainnode init` writes it."""
    from chainnode.founding import read_entry
    from chainnode.joining import check_ca_of

    action = {"type": "add_member", "member": read_entry(file)["member"]}
    check_ca_of(settings().client(), action)
    return propose_action(action, **options)


@propose.command()
@click.argument("member_id", metavar="MEMBER")
@proposing
def exclude(member_id: str, **options: Any) -> int:
    """Propose that MEMBER leaves for good; its validators must have left before."""
    return propose_action({"type": "exclude_member", "member": member_id}, **options)


@propose.command("add-source")
@click.argument("file", type=click.Path(path_type=Path))
@proposing
def add_source(file: Path, **options: Any) -> int:
    """Propose a further signing key: FILE is the config/source.json that `chainnode keys rotate` writes."""
    from chainnode.joining import read_source_entry

    return propose_action({"type": "add_source", **read_source_entry(file)}, **options)


@propose.command("remove-source")
@click.argument("key")
@proposing
def remove_source(key: str, **options: Any) -> int:
    """Propose that the signing key KEY (hex) stops; its own member's officer needs no vote: `member retire`."""
    return propose_action({"type": "remove_source", "key": hash_of(key, "a public key")}, **options)


@propose.command()
@click.argument("member_id", metavar="MEMBER")
@click.argument("keys", nargs=-1, required=True, metavar="KEY=ROLE...")
@proposing
def officers(member_id: str, keys: tuple[str, ...], **options: Any) -> int:
    """Propose all officers of MEMBER from then on, each as its public key in hex and its role."""
    from primitives.errors import UsageError

    rows = []
    for item in keys:
        key, found, role = item.partition("=")
        if not found:
            raise UsageError("not an officer", expected="KEY=ROLE, such as 0123abcd…=governance", got=item)
        rows.append({"key": hash_of(key, "a public key"), "role": role})
    return propose_action({"type": "set_officers", "member": member_id, "officers": rows}, **options)


@propose.command()
@click.argument("member_id", metavar="MEMBER")
@click.argument("names", nargs=-1, required=True, metavar="ROLE...")
@proposing
def roles(member_id: str, names: tuple[str, ...], **options: Any) -> int:
    """Propose all roles of MEMBER from then on, such as laboratory: what it is accredited for."""
    return propose_action({"type": "set_roles", "member": member_id, "roles": list(names)}, **options)


@propose.command("source-roles")
@click.argument("key")
@click.argument("names", nargs=-1, required=True, metavar="ROLE...")
@proposing
def source_roles(key: str, names: tuple[str, ...], **options: Any) -> int:
    """Propose all roles that the signing key KEY (hex) may act under, of those that its member has."""
    action = {"type": "set_source_roles", "key": hash_of(key, "a public key"), "roles": list(names)}
    return propose_action(action, **options)


@propose.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--drop-old", is_flag=True, help="Nodes with certificates of the CA before lose their links at once.")
@proposing
def ca(file: Path, drop_old: bool, **options: Any) -> int:
    """Propose another root CA: FILE is the config/ca.json that `chainnode keys rotate-ca` writes."""
    from chainnode.joining import check_ca_of, read_ca_entry

    action = {"type": "replace_ca", **read_ca_entry(file), "keeps_old": not drop_old}
    check_ca_of(settings().client(), action)
    return propose_action(action, **options)


@propose.command("policy")
@click.argument("figures", nargs=-1, required=True, metavar="FIGURE=N...")
@click.option("--at", "height", type=click.IntRange(1), help="The first height. [default: right after the decision]")
@proposing
def propose_policy(figures: tuple[str, ...], height: int | None, **options: Any) -> int:
    """Propose other figures of the policy; `chainnode member policy` shows them with their ranges."""
    from chainnode.cli.genesis import figure_of

    named = [{"name": name, "value": value} for name, value in map(figure_of, figures)]
    return propose_action({"type": "change_policy", "figures": named, "height": height or 0}, **options)


@propose.command("catalogue")
@click.argument("file", type=click.Path(path_type=Path))
@proposing
def propose_catalogue(file: Path, **options: Any) -> int:
    """Propose the version of the catalogue in FILE: as `chainnode member catalogue --edit` writes the newest one."""
    from chainnode.joining import read_catalogue_entry

    return propose_action({"type": "add_catalogue", **read_catalogue_entry(file)}, **options)


@propose.command()
@click.argument("action")
@click.argument("share", type=click.Choice(("third", "majority", "two_thirds")))
@proposing
def threshold(action: str, share: str, **options: Any) -> int:
    """Propose that more than SHARE of the members with a validator decide on ACTION, such as set_roles."""
    return propose_action({"type": "set_threshold", "action": action, "share": share}, **options)


@member.command()
def policy() -> None:
    """Show the policy's figures: value, range, and what is planned from which height on."""
    from ledger.rules import RULES_SCHEME

    found = settings().client().call("gov_getPolicy")
    if settings().machine:
        show({key: found[key] for key in ("rules", "figures", "planned_height", "scheme", "as_of")})
        return
    if found["planned_height"] is not None:
        say(f"planned figures are in force from height {found['planned_height']} on")
    show_rows(found["figures"], columns=("name", "value", "least", "most", "planned"), wrap="figures")
    if found["rules"] >= RULES_SCHEME:
        scheme = [{"name": name, "value": value} for name, value in found["scheme"].items()]
        show_rows(scheme, columns=("name", "value"), wrap="scheme")


@member.command()
def thresholds() -> None:
    """Show how many members with a validator decide on which type of action."""
    found = settings().client().call("gov_getPolicy")["thresholds"]
    show_rows(found, columns=("action", "share", "least", "votes_needed"), wrap="thresholds")


@member.command()
@click.option("--edit", type=click.Path(path_type=Path), metavar="FILE", help="Write the next version here, to change.")
def catalogue(edit: Path | None) -> None:
    """Show the versions of the catalogue and the categories of the newest."""
    import json

    from chainnode.files import write_file

    held = settings().client().call("gov_getPolicy")["catalogues"]
    if edit is not None:
        newest = held[-1]
        draft = {"version": newest["version"] + 1, "effective_from": newest["effective_from"]}
        kept = [{key: value for key, value in row.items() if key != "standards"} for row in newest["categories"]]
        draft |= {"source": newest["source"], "categories": kept}
        write_file(edit, json.dumps(draft, indent=2, ensure_ascii=False).encode() + b"\n", replace=False)
        say(f"written to {edit}: change it, then `chainnode member propose catalogue {edit}`")
        return
    if settings().machine:
        show({"catalogues": held})
        return
    for item in held:
        say(f"version {item['version']}, from {item['effective_from']}{', in force' if item['in_force'] else ''}")
    rows = [
        {**row, **{key: ", ".join(row[key]) for key in ("evidence", "standards")}} for row in held[-1]["categories"]
    ]
    show_rows(rows, columns=("number", "slug", "name", "evidence", "standards"), wrap="categories")


@member.command("entry")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--id", "member_id", required=True, help="The new member's id, such as lab-x.")
@click.option("--title", required=True, help="Its full name.")
@click.option("--role", "names", multiple=True, required=True, help="A role, repeatable, such as laboratory.")
@click.option("--source", "sources", multiple=True, required=True, type=click.Path(path_type=Path), metavar="KEYFILE")
@click.option(
    "--officer",
    "officers",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="KEYFILE",
    help="An officer, for governance or, by its key file's role, for certification; repeatable.",
)
def entry(
    file: Path,
    member_id: str,
    title: str,
    names: tuple[str, ...],
    sources: tuple[Path, ...],
    officers: tuple[Path, ...],
) -> None:
    """Write FILE for `member propose add`: an organisation without a node, such as a laboratory, with its keys.

    A certification body and a regulator need two officers, who sign its grants and revocations.
    """
    import json

    from chainnode.files import write_file
    from chainnode.founding import plain_member
    from chainnode.identity import read_key
    from ledger.members import CERTIFICATION_ROLE, GOVERNANCE_ROLE

    keys = [{"key": read_key(path, "source").public, "roles": list(names)} for path in sources]
    signing = [read_key(path, "officer") for path in officers]
    deciding = CERTIFICATION_ROLE
    rows = [{"key": key.public, "role": deciding if key.role == deciding else GOVERNANCE_ROLE} for key in signing]
    made = {"member": plain_member(member_id, title, names, sources=keys, officers=rows)}
    write_file(file, json.dumps(made, indent=2).encode() + b"\n", replace=False)
    say(f"written to {file}; a member proposes it with `chainnode member propose add {file}`")
    show({"file": str(file), "member": member_id, "roles": list(names), "sources": [row["key"] for row in keys]})


@member.command()
@click.argument("key")
@officer_option
@wait_option
@timeout_option
def retire(key: str, officer: Path, wait: str, timeout_s: float) -> int:
    """Stop the signing key KEY (hex) at once, by its own member's officer; it never comes back."""
    from chainnode.identity import read_key
    from ledger.governance_bodies import RetireSource, retirement_statement
    from primitives.ids import Hash

    source = bytes.fromhex(hash_of(key, "a public key"))
    signer = read_key(officer, "officer")
    client = settings().client(timeout_s=timeout_s, token=True)
    chain_id = Hash(bytes.fromhex(client.call("net_status")["chain_id"]))
    say(f"from the next block on nothing that {key[:16]} signs is taken")
    signature = signer.signing_key.sign(retirement_statement(chain_id, source))
    return send_event(client, RetireSource(source, signer.source, signature), "retirement", wait, timeout_s)
