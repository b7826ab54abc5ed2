package ec2connect

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go"
	"golang.org/x/crypto/ssh"

	"github.com/shotglass-ir/shotglass/transport"
)

// HostKeys are an instance's, by type as transport.TypeName has them, as SHA256 fingerprints.
type HostKeys map[string]string

// Fingerprints are all of them.
func (k HostKeys) Fingerprints() (list []string) {
	for _, f := range k {
		list = append(list, f)
	}
	slices.Sort(list)
	return list
}

// What cloud-init writes on the console when it has made an instance's host keys: https://cloudinit.readthedocs.io, cc_keys_to_console.
const (
	beginKeys   = "-----BEGIN SSH HOST KEY KEYS-----"
	endKeys     = "-----END SSH HOST KEY KEYS-----"
	beginPrints = "-----BEGIN SSH HOST KEY FINGERPRINTS-----"
	endPrints   = "-----END SSH HOST KEY FINGERPRINTS-----"
)

// Of what syslog or systemd put before a line nothing is looked at.
var (
	keyInLine   = regexp.MustCompile(`\b(ssh-ed25519|ecdsa-sha2-nistp(?:256|384|521)|ssh-rsa) [A-Za-z0-9+/]+=*`)
	printInLine = regexp.MustCompile(`\b(SHA256:[A-Za-z0-9+/]{43})=? .*\((ED25519|ECDSA|RSA)\)`)
)

// maxConsole is how much is looked at, of the end; EC2 keeps 64 KiB.
const maxConsole = 1 << 20

// ErrContradiction is wrapped where a console names several keys of one type, or a block names a type that the first had not: not all of
// them are the instance's.
var ErrContradiction = errors.New("the console output names host keys that do not go together")

// ParseConsole finds the host keys in console output. Only whole blocks count, and what follows the first can but repeat it: whatever
// brings text to the console could write another. None is no error.
func ParseConsole(text string) (HostKeys, error) {
	keys := HostKeys{}
	end, print := "", false
	block := HostKeys{}
	add := func(to HostKeys, kind, fingerprint string) error {
		if was := to[kind]; was != "" && was != fingerprint {
			return fmt.Errorf("%w: %s %s and %s", ErrContradiction, kind, was, fingerprint)
		}
		to[kind] = fingerprint
		return nil
	}
	for line := range strings.Lines(text[max(0, len(text)-maxConsole):]) {
		switch {
		case strings.Contains(line, beginKeys):
			end, print, block = endKeys, false, HostKeys{}
		case strings.Contains(line, beginPrints):
			end, print, block = endPrints, true, HostKeys{}
		case end == "":
		case strings.Contains(line, end):
			first := len(keys) == 0
			for kind, fingerprint := range block {
				if !first && keys[kind] == "" {
					return nil, fmt.Errorf("%w: a later block has %s %s", ErrContradiction, kind, fingerprint)
				}
				if err := add(keys, kind, fingerprint); err != nil {
					return nil, err
				}
			}
			end = ""
		default:
			kind, fingerprint := keyOf(line, print)
			if kind == "" {
				continue
			}
			if err := add(block, kind, fingerprint); err != nil {
				return nil, err
			}
		}
	}
	return keys, nil
}

// keyOf reads one line of a block.
func keyOf(line string, print bool) (kind, fingerprint string) {
	if print {
		if m := printInLine.FindStringSubmatch(line); m != nil {
			return m[2], m[1]
		}
		return "", ""
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(keyInLine.FindString(line)))
	if err != nil {
		return "", ""
	}
	return transport.TypeName(key.Type()), ssh.FingerprintSHA256(key)
}

// consoleAPI is the part of EC2 that is asked.
type consoleAPI interface {
	GetConsoleOutput(context.Context, *ec2.GetConsoleOutputInput, ...func(*ec2.Options)) (*ec2.GetConsoleOutputOutput, error)
}

var _ consoleAPI = (*ec2.Client)(nil)

// ConsoleKeys are the host keys that an instance wrote on its console, and whence and of when they are, for the record. What was posted
// after the last start comes first: it is older than most of what an intruder could write there. If it has none, the console as it is now is
// asked for, which only Nitro has. None is no error.
func ConsoleKeys(ctx context.Context, cfg aws.Config, instance string) (keys HostKeys, from string, err error) {
	api := consoleAPI(ec2.NewFromConfig(cfg))
	for _, latest := range []bool{false, true} {
		out, err := api.GetConsoleOutput(ctx, &ec2.GetConsoleOutputInput{InstanceId: &instance, Latest: aws.Bool(latest)})
		if e, ok := errors.AsType[smithy.APIError](err); ok && latest && e.ErrorCode() == "UnsupportedOperation" {
			return nil, "", nil
		}
		if err != nil {
			return nil, "", explain(fmt.Errorf("read the console output of %s: %w", instance, err), "ec2:GetConsoleOutput", instance, cfg.Region)
		}
		text, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(aws.ToString(out.Output)), ""))
		if err != nil {
			return nil, "", fmt.Errorf("read the console output of %s: %w", instance, err)
		}
		if keys, err = ParseConsole(string(text)); err != nil {
			return nil, "", fmt.Errorf("%s: %w", instance, err)
		}
		if len(keys) > 0 {
			from = "console output"
			if latest {
				from = "latest console output"
			}
			if out.Timestamp != nil {
				from += " of " + out.Timestamp.UTC().Format("2006-01-02T15:04:05Z")
			}
			return keys, from, nil
		}
	}
	return nil, "", nil
}
