"""People's rules, accounts, join tokens and the acceptance of the terms."""

from __future__ import annotations

from .steps import Step, T, create, destroy, specs, teardown, update

SCENARIOS: dict[str, list[Step]] = {}

SCENARIOS["people"] = [
    *specs(
        "SAMLLabelRules",
        {},
        {"assign_role": "Reader", "match_labels": ["a"]},
        {"assign_role": "Nope", "match_labels": ["a ="]},
        {"assign_role": "Reader", "match_labels": ["a in (b"]},
        {"assign_role": "Reader", "match_labels": ["!"]},
        {"assign_role": "Auditor"},
        {"assign_role_on_registration": "Reader"},
        {"assign_role_on_registration": "Nope", "assign_role": "Nope"},
    ),
    update("SAMLLabelRules", T + "1", spec={"assign_role": "Nope"}),
    create("Users", T + "u"),
    create("Users", T + "u", spec={"role": "Auditor"}),
    create("Users", T + "u", spec={"role": "Admin"}),
    create("PublicKeys", T + "u", spec={"role": "Nope"}),
    create("Identities", T + "U@x.y"),
    create("Identities", T + "u"),
    create("Identities", T + "u@x.y"),
    create("JoinTokens", T + "j"),
    create("JoinTokens", T + "j", spec={"name": "a"}),
    update("DefaultJoinTokens", "default", spec={"token_id": "absent"}),
    update("DefaultJoinTokens", "default", spec={"token_id": "absent"}, phase="tearingDown"),
    destroy("DefaultJoinTokens", "default"),
    teardown("DefaultJoinTokens", "default"),
    create("EulaAcceptances", "eula"),
    create("EulaAcceptances", T + "e"),
    create("EulaAcceptances", T + "e", spec={"accepted_by_name": "a", "accepted_by_email": "b"}),
    update("EulaAcceptances", "eula"),
    destroy("EulaAcceptances", "eula"),
]
