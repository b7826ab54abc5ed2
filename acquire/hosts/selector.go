package hosts

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// A Selector names EC2 instances by what must hold for each. Who knows AWS finds them: here it is only read.
type Selector struct {
	Text  string // as written
	Terms []Term // all must hold
}

// A Term is one condition of a selector: one of its values is the instance's.
type Term struct {
	Kind TermKind
	Not  bool   // the condition must not hold
	Key  string // of a tag
	// Values are alternatives; in those of tags, groups and profiles * stands for any characters, ? for one or none, \
	// before either for itself. None: a tag that is there, whatever its value.
	Values []string
}

// A TermKind is what a term is about.
type TermKind string

// The kinds, as a selector writes them where the value alone does not tell.
const (
	ByInstance TermKind = "id"
	ByARN      TermKind = "arn"
	ByAddress  TermKind = "address"
	ByDNS      TermKind = "dns"
	ByTag      TermKind = "tag"
	ByScaling  TermKind = "asg"
	ByVPC      TermKind = "vpc"
	BySubnet   TermKind = "subnet"
	ByGroup    TermKind = "group"
	ByImage    TermKind = "image"
	ByProfile  TermKind = "profile"
)

// SelectorForms says what a selector may be, for messages.
const SelectorForms = "i-..., an ARN, an address, a DNS name, tag:KEY=VALUE, asg:NAME, profile:NAME, vpc-..., subnet-..., sg-..., ami-..., or several with commas between, which must all hold"

// What resources are called: as their ids look since 2016, and before.
var (
	ec2ID       = regexp.MustCompile(`^(i|vpc|subnet|sg|ami)-([0-9a-f]{8}|[0-9a-f]{17})$`)
	instanceARN = regexp.MustCompile(`^arn:aws[a-z-]*:ec2:[a-z0-9-]+:[0-9]{12}:instance/i-([0-9a-f]{8}|[0-9a-f]{17})$`)
	profileARN  = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:instance-profile/(.+/)?([\w+=,.@-]+)$`)
	scalingARN  = regexp.MustCompile(`^arn:aws[a-z-]*:autoscaling:[a-z0-9-]+:[0-9]{12}:autoScalingGroup:[0-9a-f-]+:autoScalingGroupName/(.+)$`)
	dnsName     = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]*\.?$`)
)

var idKinds = map[string]TermKind{"i": ByInstance, "vpc": ByVPC, "subnet": BySubnet, "sg": ByGroup, "ami": ByImage}

// IsInstanceID reports whether s is the id of an EC2 instance.
func IsInstanceID(s string) bool { return strings.HasPrefix(s, "i-") && ec2ID.MatchString(s) }

// maxSelector bounds a selector, in bytes.
const maxSelector = 4096

// ParseSelector reads a selector: terms with commas between, each with alternatives that a | separates, and ! before
// one that must not hold.
//
//	i-0123456789abcdef0                                         10.0.3.7    2001:db8::7    ip-10-0-3-7.ec2.internal
//	arn:aws:ec2:eu-west-1:111122223333:instance/i-0123456789abcdef0
//	tag:Env=prod|stage,!tag:Role=bastion,vpc-0123456789abcdef0  asg:web-*   profile:web    tag:Quarantine
//
// \ before a comma, | or \ takes it as it is.
func ParseSelector(s string) (Selector, error) {
	sel := Selector{Text: s}
	if len(s) > maxSelector {
		return sel, fmt.Errorf("a selector of more than %d bytes", maxSelector)
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r != ' ' && blank(r) }) {
		return sel, fmt.Errorf("%q has characters that no selector has", s)
	}
	for _, text := range split(s, ',') {
		t, err := parseTerm(strings.TrimSpace(text))
		if err != nil {
			return sel, err
		}
		sel.Terms = append(sel.Terms, t)
	}
	if !slices.ContainsFunc(sel.Terms, func(t Term) bool { return !t.Not }) {
		return sel, fmt.Errorf("%q only says what must not hold: that is nearly every instance", s)
	}
	return sel, nil
}

func parseTerm(s string) (Term, error) {
	t := Term{}
	rest, not := strings.CutPrefix(s, "!")
	t.Not = not
	bad := fmt.Errorf("%q selects nothing: want %s", s, SelectorForms)
	if rest == "" {
		return t, bad
	}
	kind, value, named := strings.Cut(rest, ":")
	switch {
	case named && kind == string(ByTag):
		parts := split(value, '=')
		if t.Kind, t.Key = ByTag, plainText(parts[0]); t.Key == "" {
			return t, fmt.Errorf("%q names no tag: want tag:KEY=VALUE, or tag:KEY", s)
		}
		if len(parts) > 1 {
			t.Values = split(strings.Join(parts[1:], "="), '|')
		}
		return t, nil
	case named && (kind == string(ByScaling) || kind == string(ByProfile)):
		t.Kind, t.Values = TermKind(kind), split(value, '|')
	default:
		for _, v := range split(rest, '|') {
			k, v := kindOfValue(v)
			if k == "" || t.Kind != "" && t.Kind != k {
				return t, bad
			}
			t.Kind, t.Values = k, append(t.Values, v)
		}
	}
	if slices.Contains(t.Values, "") {
		return t, bad
	}
	return t, nil
}

// kindOfValue tells what a value without a prefix is, in its plain form; "" for nothing known.
func kindOfValue(s string) (TermKind, string) {
	if ip, err := netip.ParseAddr(s); err == nil && ip.Zone() == "" {
		return ByAddress, ip.Unmap().String()
	}
	if m := ec2ID.FindStringSubmatch(s); m != nil {
		return idKinds[m[1]], s
	}
	if instanceARN.MatchString(s) {
		return ByARN, s
	}
	if profileARN.MatchString(s) {
		return ByProfile, s
	}
	if m := scalingARN.FindStringSubmatch(s); m != nil {
		return ByScaling, m[1]
	}
	if dnsName.MatchString(s) {
		return ByDNS, strings.ToLower(strings.TrimSuffix(s, "."))
	}
	return "", s
}

// split cuts at a separator that no \ stands before.
func split(s string, sep byte) (parts []string) {
	from := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case sep:
			parts, from = append(parts, s[from:i]), i+1
		}
	}
	return append(parts, s[from:])
}

// plainText takes the \ away from what they stand before.
func plainText(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Like reports whether a text is what one of a term's values says, with its wildcards.
func (t Term) Like(s string) bool {
	return slices.ContainsFunc(t.Values, func(v string) bool { return like(v, s) })
}

// like matches as the filters of EC2 do: * stands for any characters, ? for one or none.
func like(pattern, s string) bool {
	var b strings.Builder
	b.WriteString(`(?s)^`)
	for rest := pattern; rest != ""; {
		switch {
		case rest[0] == '*':
			b.WriteString(`.*`)
		case rest[0] == '?':
			b.WriteString(`.?`)
		default:
			if rest[0] == '\\' && len(rest) > 1 {
				rest = rest[1:]
			}
			r, n := utf8.DecodeRuneInString(rest)
			b.WriteString(regexp.QuoteMeta(string(r)))
			rest = rest[n:]
			continue
		}
		rest = rest[1:]
	}
	re, err := regexp.Compile(b.String() + `$`)
	return err == nil && re.MatchString(s)
}

// Filter returns a value as the filters of EC2 write it: \ stands before *, ? and itself only.
func Filter(value string) string {
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		if value[i] == '\\' && i+1 < len(value) {
			if i++; strings.IndexByte(`*?\`, value[i]) >= 0 {
				b.WriteByte('\\')
			}
		}
		b.WriteByte(value[i])
	}
	return b.String()
}

func checkSelector(s string) error {
	_, err := ParseSelector(s)
	return err
}
