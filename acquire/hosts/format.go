package hosts

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/freeze"
	"github.com/shotglass-ir/shotglass/acquire/live"
)

// formats are what a text can have to look like; the tag "is" names one. pattern is for
// the schema, check has the last word.
var formats = map[string]struct {
	pattern string
	check   func(string) error
}{
	"host":        {`^[^-][^\s/,@]*$`, checkAddr},
	"user":        {`^[^-\s]\S*$`, ValidUser},
	"fingerprint": {`^SHA256:[A-Za-z0-9+/]{43}=?$`, ValidFingerprint},
	"sha256":      {`^(sha256:)?[0-9A-Fa-f]{64}$`, checkSHA256},
	"filename":    {`^[^/\\]+$`, acquire.ValidImageName},
	"recipient":   {`^(age1|ssh-)`, checkRecipient},
	"repository":  {"", checkRepository}, // a URL, or a path
	"openpgp":     {"", checkOpenPGP},    // a fingerprint, or a file
	"zip":         {`^(off|auto|zstd|lz4|gzip)$`, checkZip},
	"method":      {`^(auto|lime|kcore|avml)$`, checkMethod},
	"exemption":   {`\S`, checkExemption},
	"collected":   {`^[a-z-]+$`, checkCollected},
	"notify":      {`^(https?://|arn:[a-z-]+:sns:)`, checkNotify},
	"bucket":      {`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`, checkBucket},
	"prefix":      {`^[^/\\]*$`, ValidPrefix},
	"rate":        {`^[0-9.]+ ?([kKmMgG])(i?[bB]|bit)(/s)?$`, checkRate},
	"file":        {}, // a path to something that must be there
	"path":        {},
	"place":       {"", checkPlace}, // a path, or a prefix in a bucket
	"keys":        {`^[^/]`, checkKeys},
	"endpoint":    {`^https?://`, checkEndpoint},
	"arn":         {`^arn:`, checkARN},
	"account":     {`^[0-9]{12}$`, checkAccount},
	"lock":        {`^(governance|compliance)$`, checkLock},
	"retain":      {"", checkRetain},

	"selector":      {`^[^!,].*|^!.*,`, checkSelector},
	"region":        {`^(all|[a-z]{2,4}(-[a-z]+)+-[0-9]+)$`, CheckRegion},
	"address_rule":  {`^(` + strings.Join(AddressRules, "|") + `)$`, oneOf(AddressRules)},
	"connect_rule":  {`^(` + strings.Join(ConnectRules, "|") + `)$`, oneOf(ConnectRules)},
	"host_key_rule": {`^(` + strings.Join(HostKeyRules, "|") + `)$`, oneOf(HostKeyRules)},
	"user_rule":     {`^\S.*$`, checkUserRule},
	"gathered":      {`^(` + strings.Join(GatherWords, "|") + `)$`, oneOf(GatherWords)},

	"contained":    {contained.String(), checkContained},
	"wait":         {`^[0-9]`, checkWait},
	"gate":         {`^(complete|always|never)$`, oneOf(Gates)},
	"contain_mode": {`^(revoke|deny|strict)$`, oneOf(ContainModes)},
	"cut":          {`^(public-address|nacl-subnet|stop|trust-policy)$`, oneOf(Cuts)},
}

// OpenSSH's own rules: valid_hostname and valid_ruser of its ssh.c. User and host can
// end up in a ProxyCommand, which a shell reads.

// ValidHost refuses names of hosts that OpenSSH refuses.
func ValidHost(host string) error {
	switch {
	case host == "":
		return errors.New("the name is missing")
	case host[0] == '-':
		return errors.New("the name starts with a dash")
	case strings.ContainsAny(host, "'`\"$\\;&<>|(){}/,") || strings.ContainsFunc(host, blank):
		return errors.New("the name has characters that no host name has")
	}
	return nil
}

// ValidUser refuses login names that OpenSSH refuses.
func ValidUser(user string) error {
	switch {
	case user == "":
		return errors.New("the login name is empty")
	case user[0] == '-':
		return fmt.Errorf("login name %q starts with a dash", user)
	case strings.ContainsAny(user, "'`\";&<>|(){}") || strings.ContainsFunc(user, blank) || strings.HasSuffix(user, `\`):
		return fmt.Errorf("login name %q has characters that a shell would act on", user)
	}
	return nil
}

// ValidFingerprint wants what ssh-keygen -l prints: 32 bytes in base64.
func ValidFingerprint(s string) error {
	sum, ok := strings.CutPrefix(s, "SHA256:")
	if raw, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(sum, "=")); !ok || err != nil || len(raw) != 32 {
		return fmt.Errorf("host key %q is not a SHA256 fingerprint, as ssh-keygen -lf prints it", s)
	}
	return nil
}

// checkAddr is ValidHost for a key that holds neither login nor port.
func checkAddr(s string) error {
	if err := ValidHost(s); err != nil {
		return fmt.Errorf("%q: %w", s, err)
	}
	if strings.Contains(s, "@") {
		return fmt.Errorf("%q: the login name has a key of its own, username", s)
	}
	if strings.ContainsAny(s, ":[]") {
		if _, err := netip.ParseAddr(s); err != nil {
			return fmt.Errorf("%q: the port has a key of its own, port; IPv6 addresses stand without brackets", s)
		}
	}
	return nil
}

func checkSHA256(s string) error {
	if b, err := hex.DecodeString(strings.TrimPrefix(strings.ToLower(s), "sha256:")); err != nil || len(b) != 32 {
		return fmt.Errorf("%q is not a SHA-256 in hexadecimal, as sha256sum prints it", s)
	}
	return nil
}

// A hiddenError is about a text that may hold a secret: it is not shown.
type hiddenError struct{ text string }

func (e *hiddenError) Error() string { return e.text }

func checkRecipient(s string) error {
	_, err := agefile.ParseRecipient(s)
	return err
}

func checkMethod(s string) error {
	if !slices.Contains(acquire.Methods, s) {
		return fmt.Errorf("%q is no method: want one of %s", s, strings.Join(acquire.Methods, ", "))
	}
	return nil
}

func checkZip(s string) error {
	if !slices.Contains(acquire.Zips, s) {
		return fmt.Errorf("%q is no compressor: want one of %s", s, strings.Join(acquire.Zips, ", "))
	}
	return nil
}

func checkCollected(s string) error {
	_, err := live.Parse([]string{s})
	return err
}

func checkExemption(s string) error {
	_, err := freeze.ParseExemption(s)
	return err
}

// checkRepository wants a URL that a manifest can hold, or a folder.
func checkRepository(s string) error {
	if !strings.Contains(s, "://") {
		return nil
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return &hiddenError{"no valid URL"}
	case u.User != nil:
		return &hiddenError{"a password does not belong in a URL"}
	case u.Scheme != "https" && u.Scheme != "http" && u.Scheme != "s3" || u.Host == "":
		return fmt.Errorf("%q is not a URL of https, http or s3", s)
	}
	return nil
}

// checkOpenPGP refuses what looks like a key, but does not name one for certain.
func checkOpenPGP(s string) error {
	if n := len(hexKey(s)); n >= 8 && n != 40 && n != 64 {
		return fmt.Errorf("%q is not a full fingerprint, as gpg --fingerprint prints it: it has %d hexadecimal digits, want 40 or 64", s, n)
	}
	return nil
}

// hexKey returns the digits of a fingerprint, or nothing if s is a file.
func hexKey(s string) string {
	s = strings.TrimPrefix(strings.ToUpper(strings.Join(strings.Fields(s), "")), "0X")
	if len(s) < 8 || strings.Trim(s, "0123456789ABCDEF") != "" {
		return ""
	}
	return s
}

// checkNotify is not for the whole of an ARN, which is the command's to know.
func checkNotify(s string) error {
	if strings.HasPrefix(s, "arn:") {
		if p := strings.Split(s, ":"); len(p) != 6 || p[2] != "sns" || p[3] == "" || p[5] == "" {
			return fmt.Errorf("%q is not the ARN of an SNS topic", s)
		}
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.User != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" { // the text may hold a secret
		return &hiddenError{"this is neither a webhook, https://..., nor the ARN of an SNS topic"}
	}
	return nil
}

func checkBucket(s string) error {
	ok := len(s) >= 3 && len(s) <= 63
	for _, r := range s {
		ok = ok && (r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '-')
	}
	if !ok || strings.Trim(s, ".-") != s {
		return fmt.Errorf("%q is not the name of a bucket", s)
	}
	return nil
}

func checkRate(s string) error {
	_, err := acquire.ParseRate(s)
	return err
}

// ValidPrefix refuses what cannot begin the name of a file.
func ValidPrefix(s string) error {
	if strings.ContainsAny(s, `/\`) || strings.ContainsFunc(s, blank) {
		return fmt.Errorf("%q cannot begin the name of a file", s)
	}
	return nil
}

// isPath says whether a text in a format is a path, and whether it must lead somewhere.
func isPath(is, s string) (path, must bool) {
	switch is {
	case "file":
		return true, true
	case "path":
		return true, false
	case "place":
		return !isPlace(s), false
	case "repository": // --offline does without
		return !strings.Contains(s, "://"), false
	case "openpgp":
		return hexKey(s) == "", true
	}
	return false, false
}

func blank(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }
