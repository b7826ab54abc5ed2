package transport

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// A hop is one host of the chain, with everything that ssh_config and the
// target say about it.
type hop struct {
	name   string // as the user wrote it
	host   string
	port   int
	user   string
	lookup string // host:port to look up in known_hosts
	alias  bool   // lookup is a HostKeyAlias

	auth           Auth
	identities     []string // IdentityFile
	certificates   []string // CertificateFile
	identitiesOnly bool
	agent          string // socket of the agent, empty for none

	hostKey    HostKeyPolicy
	knownHosts []string

	proxyCommand string  // expanded; on a first hop only
	tunnel       *Tunnel // on a first hop only
}

func (h *hop) addr() string { return net.JoinHostPort(h.host, strconv.Itoa(h.port)) }
func (h *hop) login() string {
	return h.user + "@" + h.addr()
}

// chain resolves t and every host on the way to it, first hop first.
func (d *SSH) chain(t Target) ([]*hop, error) {
	hops, err := d.route(t, nil)
	if err != nil {
		return nil, err
	}
	if len(hops) > maxJumps+1 {
		return nil, fmt.Errorf("%d jump hosts are too many, at most %d", len(hops)-1, maxJumps)
	}
	seen := map[string]bool{}
	for _, h := range hops {
		if seen[h.login()] {
			return nil, fmt.Errorf("jump hosts loop: %s is passed twice", h.login())
		}
		seen[h.login()] = true
	}
	return hops, nil
}

// route resolves t and, before it, the hosts that t is reached through. Of
// several jump hosts only the first one's own ProxyJump or ProxyCommand counts: the
// others are reached through the one before. Ancestors are the targets that
// needed t as a jump host.
func (d *SSH) route(t Target, ancestors []string) ([]*hop, error) {
	if t.ProxyCommand != "" && len(t.Jumps) > 0 {
		return nil, errors.New("a proxy command excludes jump hosts")
	}
	if t.Tunnel != nil && (t.ProxyCommand != "" || len(t.Jumps) > 0) {
		return nil, errors.New("a tunnel excludes jump hosts and proxy commands")
	}
	h, jumps, err := d.resolve(t)
	if err != nil {
		return nil, err
	}
	for _, a := range ancestors {
		if a == h.login() {
			return nil, fmt.Errorf("jump hosts loop: %s is reached through itself", a)
		}
	}
	if len(ancestors) > maxJumps {
		return nil, fmt.Errorf("too many jump hosts, at most %d", maxJumps)
	}
	ancestors = append(ancestors[:len(ancestors):len(ancestors)], h.login())
	var hops []*hop
	for i, j := range jumps {
		if i > 0 {
			if len(j.Jumps) > 0 || j.ProxyCommand != "" || j.Tunnel != nil {
				return nil, fmt.Errorf("jump host %q cannot have a proxy of its own: it is reached through %q", j.Name, jumps[i-1].Name)
			}
			j.NoJumps = true
		}
		before, err := d.route(j, ancestors)
		if err != nil {
			return nil, fmt.Errorf("jump host %q: %w", firstOf(j.Name, j.Host), err)
		}
		hops = append(hops, before...)
	}
	return append(hops, h), nil
}

// resolve applies ssh_config to t. The jumps are those of t or of ProxyJump.
func (d *SSH) resolve(t Target) (*hop, []Target, error) {
	name := firstOf(t.Name, t.Host)
	if name == "" {
		return nil, nil, errors.New("target without a name or host")
	}
	if t.Port < 0 || t.Port > 65535 {
		return nil, nil, fmt.Errorf("port %d is out of range", t.Port)
	}
	home, err := d.home()
	if err != nil {
		return nil, nil, err
	}
	me := localUser()
	r := &configReader{home: home, original: name, host: t.Host, user: t.User, localUser: me}
	files, must := d.configFiles(home)
	st, err := r.read(files, must)
	if err != nil {
		return nil, nil, err
	}
	h := &hop{name: name, auth: t.Auth, hostKey: t.HostKey, tunnel: t.Tunnel}
	x := &expander{st: st, home: home}

	h.host = t.Host
	if h.host == "" {
		x.tokens = tokens{'h': name}
		h.host = firstOf(x.word("hostname"), name)
	}
	h.user = firstOf(t.User, x.plain("user"), me)
	h.port = t.Port
	if h.port == 0 {
		h.port = x.port()
	}
	h.lookup = net.JoinHostPort(strings.ToLower(h.host), strconv.Itoa(h.port))
	alias := x.plain("hostkeyalias")
	if alias != "" {
		// ssh looks an alias up without the port.
		h.lookup, h.alias = net.JoinHostPort(strings.ToLower(alias), "22"), true
	}

	hostname, _ := os.Hostname()
	short, _, _ := strings.Cut(hostname, ".")
	port, jump := strconv.Itoa(h.port), x.plain("proxyjump")
	x.tokens = tokens{
		'C': connectionHash(hostname, h.host, port, h.user, jump),
		'd': home, 'h': h.host, 'i': strconv.Itoa(os.Getuid()), 'j': jump, 'k': firstOf(alias, name),
		'L': short, 'l': hostname, 'n': name, 'p': port, 'r': h.user, 'u': me,
	}
	h.identities = x.paths("identityfile")
	h.certificates = x.paths("certificatefile")
	h.identitiesOnly = x.yes("identitiesonly")
	if !t.Auth.NoAgent && t.Auth.Grant == nil {
		h.agent = x.agent()
	}
	h.knownHosts = x.knownHosts()
	if len(t.HostKey.KnownHosts) > 0 {
		h.knownHosts = t.HostKey.KnownHosts
	}
	x.warn(d, name)

	jumps := t.Jumps
	command, where := t.ProxyCommand, "target"
	if len(jumps) == 0 && command == "" && !t.NoJumps && t.Tunnel == nil {
		command, where, jumps = x.proxy(t)
	}
	if command != "" && !strings.EqualFold(command, "none") {
		if h.proxyCommand, err = proxyTokens(h, name, x.tokens).expand(command); err != nil {
			x.fail(where, "ProxyCommand", err)
		}
		for what, v := range map[string]string{"host name": h.host, "user": h.user, "name": name} {
			if strings.ContainsAny(v, "'`\"$\\;&<>|(){}*?!#~ \t\r\n\x00") || strings.HasPrefix(v, "-") {
				return nil, nil, fmt.Errorf("%s %q holds characters that are not safe in a proxy command", what, v)
			}
		}
	}
	if x.err != nil {
		return nil, nil, x.err
	}
	return h, jumps, nil
}

// proxyTokens are those that ssh_config(5) allows in a ProxyCommand.
func proxyTokens(h *hop, name string, all tokens) tokens {
	return tokens{'h': h.host, 'k': all['k'], 'n': name, 'p': all['p'], 'r': h.user}
}

// An expander reads settings; it keeps the first error.
type expander struct {
	st     settings
	home   string
	tokens tokens
	err    error
}

func (x *expander) fail(at, key string, err error) {
	if x.err == nil {
		x.err = fmt.Errorf("%s: %s: %w", at, key, err)
	}
}

// plain is the first word of a setting, as it stands.
func (x *expander) plain(key string) string {
	if len(x.st[key]) == 0 {
		return ""
	}
	s := x.st[key][0]
	words, err := fields(s.value)
	if err == nil && len(words) == 0 {
		err = errors.New("no value")
	}
	if err != nil {
		x.fail(s.at(), key, err)
		return ""
	}
	return words[0]
}

// word is plain with %-tokens expanded.
func (x *expander) word(key string) string {
	w, err := x.tokens.expand(x.plain(key))
	if err != nil {
		x.fail(x.st[key][0].at(), key, err)
	}
	return w
}

func (x *expander) yes(key string) bool {
	switch w := x.plain(key); strings.ToLower(w) {
	case "yes", "true":
		return true
	case "", "no", "false":
	default:
		x.fail(x.st[key][0].at(), key, fmt.Errorf("%q is neither yes nor no", w))
	}
	return false
}

func (x *expander) port() int {
	w := x.plain("port")
	if w == "" {
		return 22
	}
	n, err := strconv.ParseUint(w, 10, 16)
	if err != nil || n == 0 {
		x.fail(x.st["port"][0].at(), "port", fmt.Errorf("%q is no number from 1 to 65535", w))
	}
	return int(n)
}

// paths are all values of a setting that may stand several times.
func (x *expander) paths(key string) []string {
	var paths []string
	for _, s := range x.st[key] {
		words, err := fields(s.value)
		if err == nil && len(words) != 1 {
			err = fmt.Errorf("want one path, have %d", len(words))
		}
		var p string
		if err == nil && !strings.EqualFold(words[0], "none") {
			p, err = x.tokens.expandPath(words[0], x.home)
		}
		if err != nil {
			x.fail(s.at(), key, err)
		} else if p != "" {
			paths = append(paths, p)
		}
	}
	return paths
}

func (x *expander) agent() string {
	sock := os.Getenv("SSH_AUTH_SOCK")
	w := x.plain("identityagent")
	switch {
	case w == "" || w == "SSH_AUTH_SOCK":
		return sock
	case strings.EqualFold(w, "none"):
		return ""
	case strings.HasPrefix(w, "$") && !strings.HasPrefix(w, "${"):
		return os.Getenv(w[1:])
	}
	path, err := x.tokens.expandPath(w, x.home)
	if err != nil {
		x.fail(x.st["identityagent"][0].at(), "identityagent", err)
	}
	return path
}

// knownHosts are the files of ssh_config or the defaults.
func (x *expander) knownHosts() []string {
	list := func(key string, defaults ...string) []string {
		if len(x.st[key]) == 0 {
			return defaults
		}
		s := x.st[key][0]
		words, err := fields(s.value)
		if err != nil {
			x.fail(s.at(), key, err)
		}
		var files []string
		for _, w := range words {
			if strings.EqualFold(w, "none") {
				continue
			}
			p, err := x.tokens.expandPath(w, x.home)
			if err != nil {
				x.fail(s.at(), key, err)
			}
			files = append(files, p)
		}
		return files
	}
	user := list("userknownhostsfile", filepath.Join(x.home, ".ssh", "known_hosts"), filepath.Join(x.home, ".ssh", "known_hosts2"))
	global := list("globalknownhostsfile", "/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
	return append(user, global...)
}

// proxy is what ssh_config says on the way to the host: of ProxyJump and
// ProxyCommand the one that comes first counts.
func (x *expander) proxy(t Target) (command, where string, jumps []Target) {
	pick := func(key string) (setting, bool) {
		if len(x.st[key]) == 0 {
			return setting{}, false
		}
		return x.st[key][0], true
	}
	j, hasJump := pick("proxyjump")
	c, hasCommand := pick("proxycommand")
	if hasJump && hasCommand {
		hasJump = j.order < c.order
	}
	switch {
	case hasJump:
		spec, err := tokens{'h': x.tokens['h'], 'n': x.tokens['n'], 'p': x.tokens['p'], 'r': x.tokens['r']}.expand(x.plain("proxyjump"))
		if err == nil {
			jumps, err = ParseJumps(spec)
		}
		if err != nil {
			x.fail(j.at(), "ProxyJump", err)
		}
		for i := range jumps {
			// As with ssh, what was said for the target does not hold for the
			// hosts on the way: neither its pinned key nor its password.
			jumps[i].Auth = Auth{Passphrase: t.Auth.Passphrase, NoAgent: t.Auth.NoAgent}
			jumps[i].HostKey = HostKeyPolicy{KnownHosts: t.HostKey.KnownHosts}
		}
		return "", "", jumps
	case hasCommand:
		return c.value, c.at(), nil
	}
	return "", "", nil
}

// warn names settings that would change what ssh does and are not honoured.
func (x *expander) warn(d *SSH, name string) {
	for _, key := range []string{"canonicalizehostname", "knownhostscommand", "hostkeyalgorithms", "pkcs11provider"} {
		if len(x.st[key]) > 0 && !strings.EqualFold(x.plain(key), "no") && !strings.EqualFold(x.plain(key), "none") {
			d.log().Warn("ssh_config: setting is not honoured", "setting", key, "at", x.st[key][0].at(), "target", name)
		}
	}
	if w := strings.ToLower(x.plain("stricthostkeychecking")); w != "" && w != "yes" && w != "true" && w != "ask" {
		d.log().Warn("ssh_config: StrictHostKeyChecking is not honoured, an unknown host key is refused",
			"value", w, "at", x.st["stricthostkeychecking"][0].at(), "target", name)
	}
}

func localUser() string {
	if u, err := user.Current(); err == nil {
		name := u.Username
		if runtime.GOOS == "windows" {
			name = name[strings.LastIndexByte(name, '\\')+1:]
		}
		return name
	}
	return os.Getenv("USER")
}
