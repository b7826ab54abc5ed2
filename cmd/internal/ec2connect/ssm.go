package ec2connect

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"

	"github.com/shotglass-ir/shotglass/transport"
)

// SSMRate is what a session of Session Manager carries, in bytes a second: others measured 0.6 to 0.8 MB/s.
const SSMRate = 700_000

// ssmPrograms are AWS's own: the protocol of a session is theirs.
var ssmPrograms = []string{"aws", "session-manager-plugin"}

// SSMInstalled says which of AWS's programs is missing here.
func SSMInstalled() error {
	var errs []error
	for _, name := range ssmPrograms {
		if _, err := exec.LookPath(name); err != nil {
			errs = append(errs, fmt.Errorf("%s is not installed here", name))
		}
	}
	return errors.Join(errs...)
}

// SSM is how the AWS CLI is called for a session; empty fields are left to its own configuration.
type SSM struct{ Instance, Region, Profile, Endpoint string }

// Argv opens a session to a port. %p stands for it, as in a ProxyCommand.
func (s SSM) Argv() []string {
	argv := []string{"aws", "ssm", "start-session", "--target", s.Instance, "--document-name", "AWS-StartSSHSession", "--parameters", "portNumber=%p"}
	for _, o := range [][2]string{{"--region", s.Region}, {"--profile", s.Profile}, {"--endpoint-url", s.Endpoint}} {
		if o[1] != "" {
			argv = append(argv, o[0], strings.ReplaceAll(o[1], "%", "%%"))
		}
	}
	return argv
}

// plainWord needs no quotes in any shell, that of Windows too.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9@%+=:,./_-]+$`)

// ProxyCommand is Argv for a shell.
func (s SSM) ProxyCommand() string {
	var words []string
	for _, a := range s.Argv() {
		if !plainWord.MatchString(a) {
			a = transport.Quote(a)
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}
