package main

import (
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/live"
)

// Groups of flags, as --help prints them.
const (
	groupHosts      = "Hosts"
	groupEvidence   = "Evidence"
	groupConnection = "Connection"
	groupAuth       = "Authentication"
	groupMethod     = "Reading memory"
	groupModule     = "Kernel module"
	groupRun        = "Running"
	groupOutput     = "Output"
)

// Defaults, each the engine's own; acquire.Options says why.
const (
	defaultStallTimeout   = 5 * time.Minute
	defaultCleanupTimeout = 90 * time.Second
	// A host that has not answered within 20 s is taken to be away; TCP has then sent its
	// SYN five times.
	defaultConnectTimeout  = 20 * time.Second
	defaultConnectAttempts = 3
	// Longer than what TCP needs to get over a lost packet or two, shorter than what most services bear.
	defaultFreezeLease = 30 * time.Second
)

func env(name string) []string { return []string{"SHOTGLASS_" + name} }

func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print JSON Lines to standard output", EnvVars: env("JSON"), Category: groupOutput, DisableDefaultText: true}
}

// captureFlagSet is what capture and plan understand. Passwords and passphrases are
// never values of flags: every user of this machine could read them.
func captureFlagSet() []cli.Flag {
	str := func(group, name, alias, envName, usage string) *cli.StringFlag {
		f := &cli.StringFlag{Name: name, Usage: usage, Category: group}
		if alias != "" {
			f.Aliases = []string{alias}
		}
		if envName != "" {
			f.EnvVars = env(envName)
		}
		return f
	}
	file := func(group, name, alias, envName, usage string) *cli.StringFlag {
		f := str(group, name, alias, envName, usage)
		f.TakesFile = true
		return f
	}
	list := func(group, name, alias, envName, usage string, takesFile bool) *cli.StringSliceFlag {
		f := &cli.StringSliceFlag{Name: name, Usage: usage, Category: group, TakesFile: takesFile}
		if alias != "" {
			f.Aliases = []string{alias}
		}
		if envName != "" {
			f.EnvVars = env(envName)
		}
		return f
	}
	yes := func(group, name, envName, usage string) *cli.BoolFlag {
		f := &cli.BoolFlag{Name: name, Usage: usage, Category: group, DisableDefaultText: true}
		if envName != "" {
			f.EnvVars = env(envName)
		}
		return f
	}
	dur := func(group, name, envName, usage string, value time.Duration) *cli.DurationFlag {
		return &cli.DurationFlag{Name: name, Usage: usage, Category: group, Value: value, EnvVars: env(envName)}
	}

	output := file(groupEvidence, "output", "o", "OUTPUT", "folder for images and manifests: `DIR`")
	output.Value = "."
	op := str(groupEvidence, "operator", "", "OPERATOR", "`NAME` of who captures, for the manifest")
	op.DefaultText = "user@host of this machine"
	compress := str(groupEvidence, "compress", "", "COMPRESS", "store the image as `zstd|s2|none`: small, cheap for the CPU, or as it is")
	compress.Value = "zstd"
	level := str(groupEvidence, "compress-level", "", "COMPRESS_LEVEL", "how hard zstd tries: `fastest|default|better`")
	level.Value = "fastest"
	threads := &cli.IntFlag{Name: "compress-threads", Usage: "compress on at most `N` cores, all hosts together", Category: groupRun, EnvVars: env("COMPRESS_THREADS"), DefaultText: "all"}
	method := str(groupMethod, "method", "", "METHOD", "read memory with a LiME module, through /proc/kcore with nothing loaded, with an AVML that you bring, or with the first of them that can be used: `auto|lime|kcore|avml`")
	method.Value = acquire.MethodAuto
	connections := str(groupMethod, "connections", "", "CONNECTIONS", "read /proc/kcore, and swap, over `N|auto` connections at once; each is a login")
	connections.Value = "auto"
	zip := str(groupMethod, "compress-on-target", "", "COMPRESS_ON_TARGET", "let the target compress what it sends, with what it has: `off|auto|zstd|lz4|gzip`. For slow links: it takes CPU time of the target and starts processes there")
	zip.Value = acquire.ZipOff
	collect := str(groupMethod, "collect", "", "COLLECT", "take this from the host beside its memory, for the analysis: `LIST` of names with commas, or state (processes, sockets, ...), kernel (BTF, kallsyms, ...), all, none. Each item is optional, and none fails a capture; plan shows what each costs")
	collect.Value = live.All
	least := str(groupRun, "min-rate", "", "MIN_RATE", "give up a stream that brings less than this `RATE` over twice the stall timeout, or off")
	least.Value = "10kB/s"
	progress := str(groupOutput, "progress", "", "PROGRESS", "show progress as `auto|bar|lines|none`")
	progress.Value = "auto"
	quiet := yes(groupOutput, "quiet", "QUIET", "print errors only, and the result")
	quiet.Aliases = []string{"q"}

	to := file(groupEvidence, "to", "", "TO", "place for images and manifests: `s3://BUCKET/PREFIX/|DIR`")
	to.DefaultText = "--output"
	connectTimeout := dur(groupConnection, "connect-timeout", "CONNECT_TIMEOUT", "give up an attempt to connect to a host, or to a jump host, after this `TIME`", defaultConnectTimeout)
	connectTimeout.Aliases, connectTimeout.EnvVars = []string{"dial-timeout"}, append(connectTimeout.EnvVars, env("DIAL_TIMEOUT")...)
	config := file(groupHosts, "config", "c", "CONFIG", "capture the hosts of this hosts file, too: `FILE`")
	budget := str(groupRun, "memory-budget", "", "MEMORY_BUDGET", "captures under way take at most this `SIZE` of memory together, such as 2GiB; others wait")
	budget.DefaultText = "a quarter of the memory, or 1GiB"

	return slices.Concat([]cli.Flag{
		config,

		to, output,
		str(groupEvidence, "name", "", "", "`NAME` of the image file, for a single host (default HOST-TIME-mem.lime.zst)"),
		str(groupEvidence, "case", "", "CASE", "`ID` of the case, for the manifest"),
		op,
		file(groupEvidence, "sign-key", "", "SIGN_KEY", "sign the manifest with this SSH key: a private key, or the .pub of a key that ssh-agent holds: `FILE`"),
		yes(groupEvidence, "unsigned", "", "leave the manifest unsigned: nobody can prove later who wrote it"),
		compress, level,
		yes(groupEvidence, "resume", "RESUME", "keep the complete images of earlier runs of this case that lie in the place, once each was read again and is signed by --sign-key or --signers, and take the other hosts"),
		file(groupEvidence, "signers", "", "SIGNERS", "with --resume: `FILE` of allowed signers whose images are kept, too"),
		list(groupEvidence, "recipient", "", "RECIPIENT", "encrypt images with age to this `KEY`: age1..., or a public key of SSH (ssh-ed25519, ssh-rsa). Only the holder of its secret key can read them", false),
		list(groupEvidence, "recipients-file", "", "RECIPIENTS_FILE", "encrypt images to the keys in this `FILE`, one a line", true),
		yes(groupEvidence, "allow-low-space", "", "start although the image might not fit the folder"),

		str(groupConnection, "user", "l", "USER", "login `NAME`, where HOST names none"),
		&cli.IntFlag{Name: "port", Aliases: []string{"p"}, Usage: "SSH `PORT`, where HOST names none", Category: groupConnection, EnvVars: env("PORT"), DefaultText: "of ssh_config, or 22"},
		str(groupConnection, "jump", "J", "JUMP", "go through these hosts, as in ssh -J: `[USER@]HOST[:PORT],...`, or none; the key of each is taken from ssh_config and ssh-agent too"),
		str(groupConnection, "proxy-command", "", "PROXY_COMMAND", "connect through this `COMMAND`, as in ssh_config"),
		file(groupConnection, "ssh-config", "", "SSH_CONFIG", "read this `FILE` in place of ~/.ssh/config and /etc/ssh/ssh_config, or none"),
		list(groupConnection, "known-hosts", "", "KNOWN_HOSTS", "read host keys from this `FILE` in place of the usual ones", true),
		list(groupConnection, "host-key", "", "HOST_KEY", "accept this host key only: `[HOST=]SHA256:...`; HOST may be a jump host", false),
		yes(groupConnection, "insecure-ignore-host-key", "", "accept any host key: anybody in between can read and forge the image. The manifest records it"),
		connectTimeout,
		&cli.IntFlag{Name: "connect-attempts", Usage: "connect up to `N` times, when nobody answers or the connection is cut before the login; what a login or a host key refuses is never tried twice", Category: groupConnection, EnvVars: env("CONNECT_ATTEMPTS"), Value: defaultConnectAttempts},

		list(groupAuth, "key", "i", "KEY", "private key `FILE`, tried before the keys of ssh-agent", true),
		yes(groupAuth, "no-agent", "NO_AGENT", "do not use ssh-agent for logging in"),
		file(groupAuth, "password-file", "", "PASSWORD_FILE", "read the login password from the first line of `FILE`; or set SHOTGLASS_PASSWORD"),
		yes(groupAuth, "ask-password", "", "ask for the login password on the terminal"),
		file(groupAuth, "sudo-password-file", "", "SUDO_PASSWORD_FILE", "read sudo's password from the first line of `FILE`; or set SHOTGLASS_SUDO_PASSWORD"),
		yes(groupAuth, "ask-sudo-password", "", "ask for sudo's password on the terminal"),
		file(groupAuth, "key-passphrase-file", "", "KEY_PASSPHRASE_FILE", "read the passphrase of keys from the first line of `FILE`; or set SHOTGLASS_KEY_PASSPHRASE; else it is asked for on the terminal"),

		method, connections, zip,
		yes(groupMethod, "swap", "SWAP", "read the host's swap areas, too, after its memory: each becomes a file beside the image, in the same manifest"),
		collect,
		yes(groupMethod, "symbols", "MAKE_SYMBOLS", "make a symbol file for Volatility 3 beside each image, of what --collect took: IMAGE.isf.json.xz, once the last host is done; with --recipient IMAGE.isf.json.xz.age, encrypted, once its host is. 2 seconds and 100 MB of memory for each, one after the other"),
		&cli.Int64Flag{Name: "accept-unreadable", Usage: "call an image complete although /proc/kcore did not give, or AVML left out, up to `N` of its pages, which are zeros in it. The manifest lists them", Category: groupMethod, EnvVars: env("ACCEPT_UNREADABLE"), DefaultText: "none"},

		file(groupMethod, "avml", "", "AVML", "AVML's program for Linux, version 0.20 or so: `FILE`; auto takes it last of all"),
		list(groupMethod, "avml-sha256", "", "AVML_SHA256", "it has this digest: `HEX`", false),
		str(groupMethod, "avml-folder", "", "AVML_FOLDER", "put it into this folder of the host, `DIR`, in place of one in memory: on a disk traces stay"),

		yes(groupMethod, "freeze", "FREEZE", "stop user processes while memory is read, so that it does not change meanwhile. What logins, the network and the survival of the host depend on goes on; see docs/freeze.md, and plan, which lists all"),
		list(groupMethod, "freeze-exempt", "", "FREEZE_EXEMPT", "with --freeze: do not stop this cgroup (/...), unit (x.service) or process: `NAME`", false),
		dur(groupMethod, "freeze-lease", "FREEZE_LEASE", "with --freeze: the host lets processes go on by itself when it hears nothing from here for this `TIME`, and is told to when the destination takes nothing for as long", defaultFreezeLease),

		list(groupModule, "module", "", "MODULE", "LiME module, or folder with modules: `FILE|DIR`", true),
		list(groupModule, "module-sha256", "", "MODULE_SHA256", "a module with this digest may be loaded, also one that is installed on the target: `HEX`", false),
		yes(groupModule, "insecure-unverified-module", "", "load a module that is neither pinned with --module-sha256 nor from a repository signed by a --repository-key, or run an AVML without --avml-sha256. The manifest records it"),
		yes(groupModule, "insecure-installed-module", "", "load a LiME module that is installed on the target although its digest is not pinned with --module-sha256: the target may have forged it. /proc/kcore comes first, unless --method lime. The manifest records it"),

		dur(groupRun, "stall-timeout", "STALL_TIMEOUT", "give up a stream in which no byte came for this `TIME`", defaultStallTimeout),
		least,
		dur(groupRun, "cleanup-timeout", "CLEANUP_TIMEOUT", "give up cleaning a host after this `TIME`", defaultCleanupTimeout),
		&cli.IntFlag{Name: "parallel", Usage: "capture at most `N` hosts at once", Category: groupRun, EnvVars: env("PARALLEL"), DefaultText: "as many as memory allows"},
		budget,
		yes(groupRun, "require-all", "REQUIRE_ALL", "capture all hosts or none: if the plan refuses one, end with 1 before any is touched"),
		str(groupRun, "limit-rate", "", "LIMIT_RATE", "read the memory of each host at most at this `RATE`, such as 50MB/s or 400Mbit/s; MB are 10^6 bytes, MiB 2^20, before compression"),
		str(groupRun, "limit-total-rate", "", "LIMIT_TOTAL_RATE", "and of all hosts together at this `RATE`"),
		threads,
		&cli.IntFlag{Name: "lime-port", Hidden: true, Usage: "TCP `PORT` for LiME on the host's loopback, in place of a free one", Category: groupModule},
		&cli.IntFlag{Name: "lime-timeout", Hidden: true, Usage: "for tests only: LiME's timeout parameter in milliseconds. Anything but 0 lets LiME fill memory with zeros"},

		jsonFlag(), quiet, progress,
	}, logFlags(), notifyFlags(), repositoryFlags(), s3AccessFlags(), s3StoreFlags(), followUpFlags(), ec2Flags(), gatherFlags("gather", "none"), margaritaFlags())
}
