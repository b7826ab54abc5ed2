package inventory

import (
	"regexp"
	"strings"

	"github.com/shotglass-ir/shotglass/acquire/hosts"
)

// A Login is the name to log in by.
type Login struct {
	User string `json:"user,omitempty"` // empty: that of ssh_config, or your own
	Why  string `json:"why"`            // where it is from
}

// A Guess is which kernel module an instance would need, as far as the name of its AMI tells. The instance's own uname -r decides: kernels are
// updated, and AMIs copied under other names.
type Guess struct {
	System       string `json:"system,omitempty"` // "Amazon Linux 2023"; empty: nobody knows
	Kernel       string `json:"kernel,omitempty"` // "6.1"; empty: not known
	Flavour      string `json:"flavour,omitempty"`
	Architecture string `json:"architecture,omitempty"`
	Why          string `json:"why"`
}

// Short is the guess in a few words; empty: there is none.
func (g Guess) Short() string {
	if g.System == "" {
		return ""
	}
	words := []string{g.System}
	for _, w := range []string{g.Kernel, g.Flavour, g.Architecture} {
		if w != "" {
			words = append(words, w)
		}
	}
	return strings.Join(words, " ") + "?"
}

func (g Guess) String() string {
	if g.System == "" {
		return "not known: " + g.Why
	}
	return "for " + strings.TrimSuffix(g.Short(), "?") + ", a guess " + g.Why + "; uname -r there decides"
}

// A system is one whose images are known by their names.
type system struct {
	image   *regexp.Regexp // its first group, if any, is the version
	name    string
	user    string
	flavour string // of its kernel's package
}

// systems are told apart by the names that their makers give their AMIs, and by what AWS bills for. The users are those of each maker's
// documentation. The first that fits counts.
var systems = []system{
	{regexp.MustCompile(`(?i)^(?:.*[/_-])?al(2023)-ami`), "Amazon Linux", "ec2-user", "amzn2023"},
	{regexp.MustCompile(`(?i)^(?:.*[/_-])?amzn(2)-ami`), "Amazon Linux", "ec2-user", "amzn2"},
	{regexp.MustCompile(`(?i)^(?:.*[/_-])?amzn-ami`), "Amazon Linux 1", "ec2-user", "amzn1"},
	{regexp.MustCompile(`(?i)\bbottlerocket`), "Bottlerocket", "ec2-user", ""},
	{regexp.MustCompile(`(?i)^amazon-eks-node-al(2023)`), "Amazon Linux", "ec2-user", "amzn2023"},
	{regexp.MustCompile(`(?i)^amazon-eks-(?:gpu-|arm64-)?node-1`), "Amazon Linux 2", "ec2-user", "amzn2"},
	{regexp.MustCompile(`(?i)\bbitnami`), "Bitnami", "bitnami", ""},
	{regexp.MustCompile(`(?i)ubuntu[^0-9]*(?:-[a-z]+-)?([0-9]{2}\.[0-9]{2})`), "Ubuntu", "ubuntu", "aws"},
	{regexp.MustCompile(`(?i)ubuntu`), "Ubuntu", "ubuntu", "aws"},
	{regexp.MustCompile(`(?i)debian-([0-9]+)`), "Debian", "admin", "cloud"},
	{regexp.MustCompile(`(?i)debian`), "Debian", "admin", ""},
	{regexp.MustCompile(`(?i)rocky[^0-9]*([0-9]+)`), "Rocky Linux", "rocky", ""},
	{regexp.MustCompile(`(?i)alma ?linux[^0-9]*([0-9]+)`), "AlmaLinux", "ec2-user", ""},
	{regexp.MustCompile(`(?i)centos stream ?(9|[1-9][0-9])`), "CentOS Stream", "ec2-user", ""},
	{regexp.MustCompile(`(?i)centos[^0-9]*([0-9]+)`), "CentOS", "centos", ""},
	{regexp.MustCompile(`(?i)^(?:.*[/_-])?ol([0-9])`), "Oracle Linux", "ec2-user", "uek"},
	{regexp.MustCompile(`(?i)\b(?:rhel|red hat enterprise linux)[^0-9]*([0-9]+(?:\.[0-9]+)?)?`), "Red Hat Enterprise Linux", "ec2-user", ""},
	{regexp.MustCompile(`(?i)suse-sles-([0-9]+(?:-sp[0-9]+)?)`), "SUSE Linux Enterprise Server", "ec2-user", "default"},
	{regexp.MustCompile(`(?i)suse`), "SUSE Linux", "ec2-user", "default"},
	{regexp.MustCompile(`(?i)fedora-coreos-([0-9]+)`), "Fedora CoreOS", "core", ""},
	{regexp.MustCompile(`(?i)fedora-cloud.*-([0-9]{2})-`), "Fedora", "fedora", ""},
	{regexp.MustCompile(`(?i)fedora`), "Fedora", "fedora", ""},
	{regexp.MustCompile(`(?i)flatcar`), "Flatcar", "core", ""},
	{regexp.MustCompile(`(?i)\bkali`), "Kali", "kali", ""},
	{regexp.MustCompile(`(?i)^arch-linux`), "Arch Linux", "arch", ""},
}

// takesPushed says whether the image likely has EC2 Instance Connect's program, which asks for pushed keys; empty: nobody knows. AWS documents it for
// Amazon Linux 2, 2023 and Ubuntu from 20.04 on. Minimal and container images leave it out.
func takesPushed(i *Instance) string {
	s, version, why := known(i)
	switch {
	case minimal.MatchString(i.Image.Name):
	case s.name == "Amazon Linux" && s.flavour != "" && strings.Contains(i.Image.Name, "-ami-"), s.name == "Ubuntu" && version >= "20.04":
		return "likely, by " + why
	}
	return ""
}

var minimal = regexp.MustCompile(`(?i)minimal|ecs|eks`)

// kernelInName finds the kernel's version in the name of an AMI: "al2023-ami-2023.9.20251014.0-kernel-6.12-x86_64".
var kernelInName = regexp.MustCompile(`(?i)kernel-([0-9]+\.[0-9]+)`)

// known finds the system of an instance, and what told it.
func known(i *Instance) (s system, version, why string) {
	for _, text := range []struct{ of, what string }{{i.Image.Name, "the name of its AMI"}, {i.Image.About, "the description of its AMI"}, {i.Platform, "what AWS bills it as"}} {
		if text.of == "" {
			continue
		}
		for _, s := range systems {
			if m := s.image.FindStringSubmatch(text.of); m != nil {
				if len(m) > 1 {
					version = m[1]
				}
				return s, version, text.what
			}
		}
	}
	if i.Image.Name == "" {
		return s, "", "its AMI is gone, or nobody may see its name"
	}
	return s, "", "the name of its AMI tells nothing"
}

// loginOf is by the system alone; LoginBy by the user's rules first.
func loginOf(i *Instance) Login {
	s, _, why := known(i)
	return Login{s.user, why}
}

// LoginBy is the name to log in by: of the first of the rules that is about the instance's image, else by what is known of that.
func (i *Instance) LoginBy(rules []hosts.UserRule) Login {
	for _, r := range rules {
		if r.For(i.Image.ID, i.Image.Name) {
			why := "your rule for all"
			if r.Image != "" {
				why = "your rule for " + r.Image
			}
			return Login{r.User, why}
		}
	}
	return loginOf(i)
}

// GuessOf guesses which kernel module an instance would need.
func GuessOf(i *Instance) Guess {
	if i.Windows {
		return Guess{Why: "it runs Windows"}
	}
	s, version, why := known(i)
	if s.name == "" {
		return Guess{Why: why}
	}
	g := Guess{System: strings.TrimSpace(s.name + " " + version), Flavour: s.flavour, Architecture: i.Architecture, Why: "by " + why}
	if m := kernelInName.FindStringSubmatch(i.Image.Name); m != nil {
		g.Kernel = m[1]
	}
	return g
}
