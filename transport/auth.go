package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// An AuthError says why no credential was accepted. It wraps ErrAuth.
type AuthError struct {
	User, Addr string
	Tried      []string // methods, in order
	Keys       []string // keys offered: fingerprint and origin
	Accepts    []string // methods that the server would take; untrusted
	Notes      []string // credentials that could not be used, and why
	Banner     string   // what the server said, at most 1 KiB; untrusted
	Err        error    // cause, where there is one beyond a plain refusal

	refused string // what to look at when a granted key is refused
}

func (e *AuthError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v as %q on %s", ErrAuth, e.User, e.Addr)
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	if len(e.Tried) == 0 {
		b.WriteString(": nothing to try")
	} else {
		fmt.Fprintf(&b, ": tried %s", strings.Join(e.Tried, ", "))
	}
	if len(e.Keys) > 0 {
		fmt.Fprintf(&b, " with %s", strings.Join(e.Keys, ", "))
	}
	if len(e.Accepts) > 0 {
		fmt.Fprintf(&b, "; the server accepts %s", strings.Join(e.Accepts, ", "))
	}
	for _, n := range e.Notes {
		b.WriteString("; " + n)
	}
	if e.Banner != "" {
		fmt.Fprintf(&b, "; the server says %q", e.Banner)
	}
	return b.String()
}

// Unwrap makes errors.Is find ErrAuth and the cause.
func (e *AuthError) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrAuth}
	}
	return []error{ErrAuth, e.Err}
}

// Hint implements Hinter.
func (e *AuthError) Hint() string {
	if h, ok := errors.AsType[Hinter](e.Err); e.Err != nil && ok {
		return h.Hint()
	}
	if e.refused != "" && e.Err == nil {
		return e.refused
	}
	key := slices.Contains(e.Accepts, "publickey")
	password := slices.Contains(e.Accepts, "password") || slices.Contains(e.Accepts, "keyboard-interactive")
	switch {
	case len(e.Keys) > 5:
		return "the server may count every key that is offered: name the right one, or set IdentitiesOnly yes"
	case key && len(e.Keys) > 0:
		return "add one of these keys to that user's authorized_keys, or name another user or key"
	case key && password:
		return "name a key that the user accepts, start ssh-agent, or give a password"
	case key:
		return "name a key that the user accepts, or load it into ssh-agent"
	case password:
		return "the server wants a password: allow it to be asked for"
	}
	return "check the user name, and what the server's sshd_config allows"
}

var (
	errNothingLeft = errors.New("no credential left")
	errTooMany     = errors.New("too many rounds of questions")
)

// An authenticator supplies the credentials of one hop, one after the other.
type authenticator struct {
	ctx    context.Context // of the dial; this value lives no longer
	clock  *dialClock
	hop    *hop
	log    *slog.Logger
	legacy bool
	files  []*keyFile
	certs  []*ssh.Certificate // CertificateFile
	agent  net.Conn
	alive  func() error

	started  bool
	granting bool // a key is, or was not, granted: no credential was offered yet
	loaded   bool
	signers  []*signer
	next     int // signers before it were offered
	stage    int // partial successes so far
	password bool
	keyboard bool
	rounds   int
	fatal    error
	methods  []string // one per stage, the last one tried at its end
	key      string   // fingerprint of the key that signed last
	granted  granted
	report   AuthError
}

// newAuthenticator reads the key files, so that a bad one is found before
// anything is dialled.
func newAuthenticator(h *hop, home string, legacy bool, log *slog.Logger) (*authenticator, error) {
	a := &authenticator{hop: h, log: log, legacy: legacy}
	a.report = AuthError{User: h.user, Addr: h.addr()}
	for _, path := range h.auth.KeyFiles {
		k, err := loadKey(path, true)
		if err != nil {
			return nil, err
		}
		a.files = append(a.files, k)
	}
	if h.auth.Grant != nil {
		return a, nil
	}
	identities, configured := h.identities, true
	if len(identities) == 0 && len(a.files) == 0 {
		identities, configured = defaultIdentities(home), false
	}
	for _, path := range identities {
		k, err := loadKey(path, false)
		switch {
		case err == nil:
			a.files = append(a.files, k)
		case configured || !errors.Is(err, errNotExist):
			a.note(err.Error())
		}
	}
	for _, path := range h.certificates {
		cert, err := readCert(path)
		if err != nil {
			a.note(err.Error())
			continue
		}
		a.certs = append(a.certs, cert)
	}
	return a, nil
}

func (a *authenticator) note(s string) {
	a.log.Debug("credential not usable", "target", a.hop.name, "why", s)
	a.report.Notes = append(a.report.Notes, s)
}

// config fills in what x/crypto/ssh asks for credentials.
func (a *authenticator) config(ctx context.Context, clock *dialClock, alive func() error, c *ssh.ClientConfig) {
	a.ctx, a.clock, a.alive = ctx, clock, alive
	c.User = a.hop.user
	c.AuthCallback = a.choose
	c.BannerCallback = func(message string) error {
		message = strings.ToValidUTF8(message[:min(len(message), 1<<10)], "\uFFFD")
		a.report.Banner = strings.TrimSpace(message)
		return nil
	}
}

func (a *authenticator) close() {
	if a.agent != nil {
		a.agent.Close()
	}
}

// choose is an ssh.ClientAuthCallback.
func (a *authenticator) choose(c *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
	a.started = true
	a.clock.enter("authenticating")
	if a.fatal != nil {
		return nil, a.fatal
	}
	// Do not bother a human for a connection that is gone.
	if err := a.alive(); err != nil {
		return nil, err
	}
	a.report.Accepts = nil
	for _, m := range c.AllowedMethods {
		a.report.Accepts = append(a.report.Accepts, clean(m))
	}
	if n := len(c.PartialSuccessMethods); n != a.stage {
		a.stage, a.password, a.keyboard = n, false, false
	}
	try := func(method string, m ssh.AuthMethod) (ssh.AuthMethod, error) {
		a.methods = append(slices.Clone(c.PartialSuccessMethods), method)
		if !slices.Contains(a.report.Tried, method) {
			a.report.Tried = append(a.report.Tried, method)
		}
		return m, nil
	}
	allowed := func(method string) bool { return slices.Contains(c.AllowedMethods, method) }

	if allowed("publickey") {
		if err := a.load(); err != nil {
			return nil, err
		}
		if a.next < len(a.signers) {
			var left []ssh.Signer
			for _, s := range a.signers[a.next:] {
				left = append(left, s)
			}
			return try("publickey", ssh.PublicKeys(left...))
		}
	}
	if allowed("password") && !a.password && a.hop.auth.Password != nil {
		a.password = true
		secret, err := a.ask(a.hop.auth.Password, "password for "+a.hop.login())
		if err == nil {
			return try("password", ssh.Password(string(secret)))
		}
		if !errors.Is(err, ErrNoSecret) {
			return nil, fmt.Errorf("ask for the password: %w", err)
		}
		a.note("no password available")
	}
	if allowed("keyboard-interactive") && !a.keyboard && a.hop.auth.Password != nil {
		a.keyboard = true
		return try("keyboard-interactive", ssh.KeyboardInteractive(a.answer))
	}
	return nil, errNothingLeft
}

// ask stops the clock while the secret is found.
func (a *authenticator) ask(f SecretFunc, prompt string) ([]byte, error) {
	a.clock.pause()
	defer a.clock.resume()
	secret, err := f(a.ctx, prompt)
	if err == nil {
		err = a.ctx.Err()
	}
	if err != nil && !errors.Is(err, ErrNoSecret) {
		a.fatal = err
	}
	return secret, err
}

// answer is an ssh.KeyboardInteractiveChallenge.
func (a *authenticator) answer(_, _ string, questions []string, _ []bool) ([]string, error) {
	if a.rounds++; a.rounds > 16 {
		return nil, errTooMany
	}
	var answers []string
	for _, q := range questions {
		if len(q) > 200 {
			q = q[:200]
		}
		secret, err := a.ask(a.hop.auth.Password, a.hop.login()+" asks "+strconv.Quote(strings.TrimSpace(q)))
		if err != nil {
			if errors.Is(err, ErrNoSecret) {
				a.note("no answer available for " + strconv.Quote(strings.TrimSpace(q)))
				a.fatal = errNothingLeft
			}
			return nil, err
		}
		answers = append(answers, string(secret))
	}
	return answers, nil
}

// load lists the keys to offer: key files in the order given, certificates
// first, then what else the agent holds. Servers count every offer (sshd takes
// 6), so a full agent must not use them up before the user's own key.
func (a *authenticator) load() error {
	if a.loaded {
		return nil
	}
	a.loaded = true
	if err := a.grant(); err != nil {
		return err
	}
	held := a.agentSigners()
	byKey := map[string]ssh.Signer{}
	for _, s := range held {
		byKey[string(s.PublicKey().Marshal())] = s
	}
	used := map[string]bool{}
	for _, k := range a.files {
		if k.public == nil {
			// Nothing but the passphrase reveals this key.
			if err := a.unlock(k); err != nil {
				if k.explicit || a.fatal != nil {
					return err
				}
				a.note(err.Error())
				continue
			}
		}
		get := func() (ssh.Signer, error) { return k.signer, nil }
		if s, ok := byKey[string(k.public.Marshal())]; ok && k.signer == nil {
			get = func() (ssh.Signer, error) { return s, nil }
		} else if k.signer == nil && k.encrypted == nil {
			err := &keyError{path: k.path, err: errors.New("this is a public key, and the agent does not hold its private one"),
				hint: "name the private key"}
			if k.explicit {
				return err
			}
			a.note(err.Error())
			continue
		} else if k.signer == nil {
			if a.hop.auth.Passphrase == nil && !k.explicit {
				a.note((&keyError{path: k.path, err: errors.New("needs a passphrase")}).Error())
				continue
			}
			get = func() (ssh.Signer, error) {
				if k.signer == nil {
					if err := a.unlock(k); err != nil {
						return nil, err
					}
				}
				return k.signer, nil
			}
		}
		used[string(k.public.Marshal())] = true
		a.add(k.public, k.path, k.explicit, get, k.certs)
	}
	if a.hop.identitiesOnly || a.hop.auth.Grant != nil {
		return nil
	}
	for _, s := range held {
		if pub := s.PublicKey(); !used[string(pub.Marshal())] {
			a.add(pub, "agent", false, func() (ssh.Signer, error) { return s, nil }, nil)
		}
	}
	return nil
}

// unlock asks for the passphrase of k.
func (a *authenticator) unlock(k *keyFile) error {
	_, err := k.unlock(func(prompt string) ([]byte, error) {
		if a.hop.auth.Passphrase == nil {
			return nil, ErrNoSecret
		}
		return a.ask(a.hop.auth.Passphrase, prompt)
	})
	return err
}

// add offers a key, its certificates first.
func (a *authenticator) add(pub ssh.PublicKey, name string, explicit bool, get func() (ssh.Signer, error), certs []*ssh.Certificate) {
	offer := func(pub ssh.PublicKey, label string) {
		index, fingerprint := len(a.signers), ssh.FingerprintSHA256(pub)
		a.signers = append(a.signers, &signer{
			public: pub, name: label, legacy: a.legacy, signing: get,
			offered: func() {
				if index >= a.next {
					a.next = index + 1
					a.report.Keys = append(a.report.Keys, fmt.Sprintf("%s (%s)", fingerprint, label))
				}
			},
			signed: func(err error) {
				a.key = fingerprint
				switch {
				case err == nil || a.fatal != nil:
				case explicit:
					a.fatal = err
				default:
					a.note(fmt.Sprintf("%s: %v", label, err))
				}
			},
		})
	}
	for _, c := range append(certs[:len(certs):len(certs)], a.certs...) {
		if !sameKey(c.Key, pub) {
			continue
		}
		label := name + " with certificate"
		if n := certNote(c, a.hop.user, time.Now()); n != "" {
			a.note(fmt.Sprintf("the certificate of %s %s", name, n))
		}
		offer(c, label)
	}
	offer(pub, name)
}

// agentSigners asks the agent for its keys.
func (a *authenticator) agentSigners() []ssh.Signer {
	if a.hop.agent == "" {
		return nil
	}
	c, err := (&net.Dialer{}).DialContext(a.ctx, "unix", a.hop.agent)
	if err != nil {
		a.note(fmt.Sprintf("ssh-agent: %v", err))
		return nil
	}
	a.agent = c
	context.AfterFunc(a.ctx, func() { c.Close() })
	signers, err := agent.NewClient(c).Signers()
	if err != nil {
		a.note(fmt.Sprintf("ssh-agent: %v", err))
	}
	return signers
}

// failure explains why the handshake ended in err during authentication.
func (a *authenticator) failure(err error) error {
	if e, ok := errors.AsType[*GrantError](a.fatal); ok {
		return e
	}
	r := a.report
	switch {
	case a.fatal != nil && !errors.Is(a.fatal, errNothingLeft):
		r.Err = a.fatal
	case errors.Is(err, errNothingLeft):
	case errors.Is(err, ErrNoSecret):
	case strings.Contains(err.Error(), "ssh: disconnect"):
		// The type of that error is not exported. sshd disconnects after
		// MaxAuthTries, for one.
		r.Err = printable(err)
	case a.alive() != nil:
		return fmt.Errorf("the server hung up during authentication: %w", a.alive())
	default:
		r.Err = printable(err)
	}
	return &r
}
