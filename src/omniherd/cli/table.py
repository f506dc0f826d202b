"""Every command in one static table: names, aliases, one line of help, and where the code is.

`omniherd --help` is made from this table alone, so that it starts as fast as Python does.
"""

from __future__ import annotations

# What type checkers take for true; importing `typing` would cost a fifth of what `--help` may take.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["ROOT", "Entry"]


class Entry:
    """A command or a group of commands.

    Attributes:
        name: Its name on the command line.
        summary: One line of help.
        module: The module of `omniherd.cli` with the command, empty for a group that only holds others.
        aliases: Other names.
        children: The commands of a group, by name.
        valued: Flags of a group's commands that may stand before their names, and are followed by a value.
    """

    __slots__ = ("aliases", "attribute", "children", "module", "name", "summary", "valued")

    def __init__(
        self,
        name: str,
        summary: str,
        module: str = "",
        *,
        aliases: tuple[str, ...] = (),
        children: tuple[Entry, ...] = (),
        valued: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.summary = summary
        self.module, _, self.attribute = module.partition(":")
        self.aliases = aliases
        self.children = {child.name: child for child in children}
        self.valued = valued

    def load(self) -> Any:
        """Import the command's module and return the command."""
        import importlib

        return getattr(importlib.import_module(f"omniherd.cli.{self.module}"), self.attribute)

    def find(self, word: str) -> Entry | None:
        """Return the command of a group by its name or an alias."""
        found = self.children.get(word)
        if found is not None:
            return found
        return next((child for child in self.children.values() if word in child.aliases), None)


ROOT = Entry(
    "omniherd",
    "Work with Sidero Omni from the command line.",
    children=(
        Entry("annotate", "Put annotations on resources, or take them away", "labels:annotate"),
        Entry("apply", "Create or update resources from YAML files", "apply:apply"),
        Entry("audit-log", "Print the audit log", "logs:audit_log"),
        Entry(
            "cluster",
            "Status, deletion and locks of clusters",
            aliases=("c",),
            children=(
                Entry("delete", "Delete a cluster and wait until it is gone", "clusters:delete"),
                Entry(
                    "import",
                    "Imports of clusters that exist",
                    "cluster_import:import_cluster",
                    children=(Entry("abort", "Undo an unfinished import", "cluster_import:abort"),),
                ),
                Entry(
                    "kubernetes",
                    "Kubernetes of a cluster",
                    aliases=("k",),
                    children=(
                        Entry("manifest-sync", "Bring the bootstrap manifests up to date", "clusters:manifest_sync"),
                        Entry(
                            "upgrade-pre-checks",
                            "Find out whether Kubernetes can be upgraded",
                            "clusters:upgrade_pre_checks",
                        ),
                    ),
                ),
                Entry("lock", "Keep changes away from a cluster", "clusters:lock"),
                Entry(
                    "machine",
                    "Machines of a cluster",
                    children=(
                        Entry(
                            "delete",
                            "Take a machine out of its cluster",
                            "clusters:machine_delete",
                            aliases=("rm", "destroy"),
                        ),
                        Entry("lock", "Keep changes away from a machine", "clusters:machine_lock"),
                        Entry("unlock", "Let changes through to a machine again", "clusters:machine_unlock"),
                    ),
                ),
                Entry(
                    "secret",
                    "Certificate authorities of a cluster",
                    valued=("-n", "--name"),
                    children=(
                        Entry(
                            "rotate",
                            "New certificate authorities",
                            valued=("-t", "--wait-timeout"),
                            children=(
                                Entry(
                                    "kubernetes-ca",
                                    "Give Kubernetes a new certificate authority",
                                    "cluster_secrets:rotate_kubernetes_ca",
                                ),
                                Entry("status", "Print how far a rotation is", "cluster_secrets:rotation_status"),
                                Entry(
                                    "talos-ca",
                                    "Give the Talos API a new certificate authority",
                                    "cluster_secrets:rotate_talos_ca",
                                ),
                            ),
                        ),
                    ),
                ),
                Entry("status", "Print a cluster's status until it is healthy", "clusters:status"),
                Entry(
                    "template",
                    "Clusters described in files",
                    aliases=("t",),
                    valued=("--allowed-dir",),
                    children=(
                        Entry("delete", "Delete everything that a template made", "template:delete"),
                        Entry("diff", "Print what sync would change", "template:diff"),
                        Entry("export", "Write the template of a cluster", "template:export"),
                        Entry("render", "Print the resources of a template", "template:render"),
                        Entry(
                            "status", "Print the status of a template's cluster until it is healthy", "template:status"
                        ),
                        Entry("sync", "Bring Omni in line with templates", "template:sync"),
                        Entry("validate", "Check templates; no server is asked", "template:validate"),
                    ),
                ),
                Entry("unlock", "Let changes through to a cluster again", "clusters:unlock"),
            ),
        ),
        Entry(
            "completion",
            "Print a shell's completion script",
            children=(
                Entry("bash", "Print the completion script for bash", "completion:bash"),
                Entry("fish", "Print the completion script for fish", "completion:fish"),
                Entry("zsh", "Print the completion script for zsh", "completion:zsh"),
            ),
        ),
        Entry(
            "config",
            "Show and change the omniconfig file",
            children=(
                Entry("add", "Add a context", "config:add"),
                Entry("context", "Make a context the current one", "config:use", aliases=("use-context", "use")),
                Entry("contexts", "List the contexts", "config:contexts", aliases=("get-contexts",)),
                Entry("identity", "Set the identity of a context", "config:identity"),
                Entry("info", "Show the current context", "config:info"),
                Entry("merge", "Merge another omniconfig file into this one", "config:merge"),
                Entry("new", "Write a new omniconfig file", "config:new"),
                Entry("remove", "Remove a context", "config:remove"),
                Entry("url", "Set the server of a context", "config:url"),
            ),
        ),
        Entry(
            "configure",
            "How machines reach Omni",
            aliases=("c",),
            children=(Entry("machine", "Connection and token of machines", "configure:machine", aliases=("m",)),),
        ),
        Entry("create", "Create resources from YAML files; existing ones are left alone", "apply:create"),
        Entry("delete", "Delete resources and wait until they are gone", "delete:delete", aliases=("d",)),
        Entry("docs", "Write the help of every command to a file", "docs:docs"),
        Entry("download", "Download an image by its name; see media", "media:download_medium"),
        Entry("drift", "Tell where a server differs from the files of a fleet", "drift:drift"),
        Entry("edit", "Edit resources in an editor", "edit:edit"),
        Entry("emulator", "Serve an Omni of your own on this machine", "emulator:emulator"),
        Entry("export", "Write everything that people manage to files", "export:export"),
        Entry("get", "Show or watch resources", "get:get", aliases=("g",)),
        Entry(
            "infraprovider",
            "Providers of machines",
            aliases=("ip",),
            children=(
                Entry("create", "Make a provider and its service account", "providers:create", aliases=("c",)),
                Entry("delete", "Remove a provider", "providers:delete", aliases=("d",)),
                Entry("list", "List the providers", "providers:list_providers", aliases=("l",)),
                Entry("renewkey", "Give a provider one more key", "providers:renew_key", aliases=("r",)),
            ),
        ),
        Entry(
            "jointoken",
            "What machines show when they come",
            aliases=("jt",),
            children=(
                Entry("create", "Make a token", "join_tokens:create", aliases=("c",)),
                Entry("delete", "Remove a token", "join_tokens:delete", aliases=("d",)),
                Entry("kernel-args", "Print kernel arguments to join by", "join_tokens:kernel_args", aliases=("ka",)),
                Entry("list", "List the tokens", "join_tokens:list_tokens", aliases=("l",)),
                Entry(
                    "machine-config", "Print a configuration to join by", "join_tokens:machine_config", aliases=("mc",)
                ),
                Entry("make-default", "Make a token the default", "join_tokens:make_default", aliases=("md",)),
                Entry("omni-endpoint", "Print the URL to join by", "join_tokens:omni_endpoint", aliases=("oe",)),
                Entry("renew", "Move a token's end", "join_tokens:renew"),
                Entry("revoke", "Stop accepting a token", "join_tokens:revoke", aliases=("r",)),
                Entry("unrevoke", "Accept a token again", "join_tokens:unrevoke", aliases=("ur",)),
            ),
        ),
        Entry("kubeconfig", "Write a kubeconfig, or add to one", "client_files:kubeconfig"),
        Entry("label", "Put labels on resources, or take them away", "labels:label"),
        Entry(
            "machine",
            "Power and maintenance of machines",
            children=(
                Entry("install", "Install Talos on a machine in maintenance mode", "machines:install"),
                Entry("power-on", "Switch a machine on", "machines:power_on"),
                Entry("shutdown", "Switch a machine off", "machines:shutdown"),
                Entry("upgrade", "Upgrade Talos on a machine in maintenance mode", "machines:upgrade"),
            ),
        ),
        Entry("machine-logs", "Print the log of a machine", "logs:machine_logs", aliases=("l",)),
        Entry(
            "media",
            "Images that machines start from",
            aliases=("installation-media", "im"),
            children=(
                Entry("download", "Download the image of a preset", "media:download"),
                Entry(
                    "preset",
                    "What goes into images, under names",
                    children=(
                        Entry("create", "Store a preset", "media:create_preset"),
                        Entry("delete", "Remove a preset", "media:delete_preset"),
                        Entry("list", "List the presets", "media:list_presets", aliases=("ls",)),
                    ),
                ),
            ),
        ),
        Entry("plan", "Say what files of a fleet would change", "plan:plan"),
        Entry(
            "serviceaccount",
            "Service accounts, identities of programs",
            aliases=("sa",),
            children=(
                Entry("create", "Make a service account with a new key", "accounts:create", aliases=("c",)),
                Entry("destroy", "Remove a service account", "accounts:destroy", aliases=("d",)),
                Entry("list", "List service accounts and their keys", "accounts:list_accounts", aliases=("l",)),
                Entry("renew", "Give a service account one more key", "accounts:renew", aliases=("r",)),
            ),
        ),
        Entry("support", "Download a support bundle of a cluster", "support:support"),
        Entry("sync", "Make the server what files of a fleet say", "plan:sync"),
        Entry("talosconfig", "Write a talosconfig, or add to one", "client_files:talosconfig"),
        Entry(
            "user",
            "People who may log in",
            aliases=("u",),
            children=(
                Entry("create", "Let a person in", "users:create"),
                Entry("delete", "Shut people out", "users:delete"),
                Entry("list", "List the people who may log in", "users:list_users"),
                Entry("set-role", "Give a person another role", "users:set_role"),
            ),
        ),
        Entry("version", "Show the versions of omniherd and of the server", "version:version"),
        Entry("wait", "Wait until resources are ready, running, gone…", "wait:wait"),
    ),
)
