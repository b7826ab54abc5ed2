// Package hosts reads the YAML file that names the hosts of a case.
//
// A file of Margarita Shotgun works unchanged; beyond it there are defaults, host key
// pins, jump chains, secrets from elsewhere, labels and more. Reading is strict: what
// is not understood is an error with its place in the file, and all errors come
// at once, before any connection.
//
// The structs below are the one definition of the file: the decoder and the JSON
// Schema both follow their tags.
package hosts

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/shotglass-ir/shotglass/acquire"
)

// A File is a hosts file.
type File struct {
	// Path is where the file was read from, for messages.
	Path string `yaml:"-"`
	// Warnings are what the user should know although the file can be used.
	Warnings []Problem `yaml:"-"`

	Case     string   `yaml:"case" doc:"The ID of the case, for the manifests."`
	Defaults Defaults `yaml:"defaults" doc:"What holds for every host that does not say otherwise."`
	Hosts    []Host   `yaml:"hosts" doc:"The hosts to capture."`
	Workers  Count    `yaml:"workers" is:"workers" doc:"How many hosts to capture at once; auto lets memory decide."`

	LimitTotalRate string `yaml:"limit_total_rate" is:"rate" doc:"How fast the memory of all hosts together is read at most, such as 200MB/s."`

	Notify       Strings `yaml:"notify" is:"notify" doc:"Webhooks (https://...) and SNS topics (arn:aws:sns:...) that are told how the run goes, unless --notify says otherwise."`
	NotifySecret *Secret `yaml:"notify_secret" doc:"The secret that signs what goes to webhooks."`

	AWS        AWS        `yaml:"aws" doc:"Where in S3 images are stored, and how; a flag outweighs each key."`
	Logging    Logging    `yaml:"logging" doc:"Where to write a detailed log of the run, unless --log-dir and --log-prefix say otherwise."`
	Repository Repository `yaml:"repository" doc:"A signed repository of kernel modules."`

	places map[string]place
	lines  [][]byte
}

// Defaults are what a host may say, and what all hosts may say together.
type Defaults struct {
	Port     int    `yaml:"port" is:"port" doc:"The SSH port; else that of ssh_config, or 22."`
	Username string `yaml:"username" is:"user" doc:"The login name; else that of ssh_config, or your own."`

	// Password is the login password. Beside a key and without a passphrase it is
	// the key's passphrase, as with Margarita Shotgun, and never sent to a host.
	Password     *Secret `yaml:"password" doc:"The login password. Beside a key and without a passphrase: the passphrase of the key, which is then never sent to the host."`
	SudoPassword *Secret `yaml:"sudo_password" doc:"The password for sudo, where it wants one."`
	Key          Strings `yaml:"key" is:"file" doc:"Private key files, tried before the keys of ssh-agent."`
	Passphrase   *Secret `yaml:"passphrase" doc:"The passphrase of the keys."`

	HostKey    Strings `yaml:"host_key" is:"fingerprint" doc:"Pins: only these host keys are accepted."`
	KnownHosts Strings `yaml:"known_hosts" is:"file" doc:"Files with host keys, in place of those of ssh_config."`

	JumpHost     *Jump  `yaml:"jump_host" doc:"The host to go through."`
	Jumps        []Jump `yaml:"jumps" doc:"The chain of hosts to go through, first hop first."`
	ProxyCommand string `yaml:"proxy_command" doc:"Connect through this command, as in ssh_config."`

	Method       string  `yaml:"method" is:"method" doc:"How to read memory: lime, kcore, avml (with --avml), or auto for the first that can be used."`
	Freeze       *bool   `yaml:"freeze" doc:"Stop user processes while memory is read."`
	FreezeExempt Strings `yaml:"freeze_exempt" is:"exemption" doc:"What freezing leaves alone: cgroups (/...), units (x.service) or processes."`
	Module       Strings `yaml:"module" is:"file" doc:"LiME modules, or folders with modules."`
	ModuleSHA256 Strings `yaml:"module_sha256" is:"sha256" doc:"Digests of modules that may be loaded."`

	Connections Count `yaml:"connections" is:"connections" doc:"How many connections read /proc/kcore at once, each a login; auto lets the round trip decide."`

	CompressOnTarget string `yaml:"compress_on_target" is:"zip" doc:"Let the host compress what it sends: auto for what it has, zstd, lz4, gzip, or off."`

	Swap *bool `yaml:"swap" doc:"Read the swap areas, too, after memory."`

	Collect Strings `yaml:"collect" is:"collected" doc:"What to take from the host beside its memory: all, none, state, kernel, or names of items."`

	Symbols *bool `yaml:"symbols" doc:"Make a symbol file for Volatility 3 beside the image, encrypted if the image is."`

	LimitRate string `yaml:"limit_rate" is:"rate" doc:"How fast the memory of the host is read at most, such as 50MB/s; without it as fast as can be."`

	Output         string  `yaml:"output" is:"place" doc:"The folder for images and manifests, or s3://BUCKET/PREFIX/."`
	Recipients     Strings `yaml:"recipients" is:"recipient" doc:"Encrypt the image with age to these keys: age1..., or public keys of SSH."`
	RecipientsFile Strings `yaml:"recipients_file" is:"file" doc:"Encrypt the image to the keys in these files, one a line."`

	EC2Region   Strings `yaml:"ec2_region" is:"region" doc:"The regions in which ec2 looks: names, or all that the account has; else that of --aws-region or the profile."`
	EC2Account  Strings `yaml:"ec2_account" is:"account" doc:"The accounts in which ec2 looks, in quotes; else that of the caller, or of the role."`
	EC2Address  string  `yaml:"ec2_address" is:"address_rule" doc:"By which address EC2 instances are reached: private, public, ipv6, dns, id, or auto for what fits."`
	EC2Connect  string  `yaml:"ec2_connect" is:"connect_rule" doc:"How to log in to EC2 instances: push for a key that EC2 Instance Connect pushes, endpoint for that through a tunnel of its endpoint, ssm for that through Session Manager, auto for what fits, or none."`
	EC2HostKeys string  `yaml:"ec2_host_keys" is:"host_key_rule" doc:"Whence host keys of EC2 instances are known: known as of any host, or console for those that they wrote on their consoles."`
	EC2User     Strings `yaml:"ec2_user" is:"user_rule" doc:"Login names of EC2 instances: AMI=NAME, where AMI is the id or the name of an image, with * for any characters; or NAME for all."`

	EC2Gather Strings `yaml:"ec2_gather" is:"gathered" doc:"What to take of EC2 instances from AWS before anything is changed there: all, which is everything that is read; snapshots; names of items; or none."`

	Containment Containment `yaml:"containment" doc:"What to contain in AWS after the capture."`

	Labels map[string]string `yaml:"labels" doc:"What to note about the host in its manifest."`
}

// A Host is one host to capture.
type Host struct {
	Addr     string  `yaml:"addr" is:"host" need:"one" doc:"A host name, an address, or an alias of ssh_config."`
	EC2      Strings `yaml:"ec2" is:"selector" need:"one" doc:"In place of addr, EC2 instances: i-..., an ARN, an address, tag:KEY=VALUE, asg:NAME and more, with commas between what must all hold; of a list, all that one of them selects."`
	Name     string  `yaml:"name" is:"host" doc:"What to call the host in messages and file names, in place of addr."`
	Filename string  `yaml:"filename" is:"filename" doc:"The name of the image, in place of one made of host and time."`
	Defaults `yaml:",inline"`
}

// A Jump is a host on the way.
type Jump struct {
	Addr       string  `yaml:"addr" is:"host" need:"true" doc:"A host name, an address, or an alias of ssh_config."`
	Port       int     `yaml:"port" is:"port" doc:"The SSH port; else that of ssh_config, or 22."`
	Username   string  `yaml:"username" is:"user" doc:"The login name; else that of ssh_config, or your own."`
	Password   *Secret `yaml:"password" doc:"The login password of the jump host. Beside a key and without a passphrase: the passphrase of the key."`
	Key        Strings `yaml:"key" is:"file" doc:"Private key files, tried before the keys of ssh-agent."`
	Passphrase *Secret `yaml:"passphrase" doc:"The passphrase of the keys."`
	HostKey    Strings `yaml:"host_key" is:"fingerprint" doc:"Pins: only these host keys are accepted."`
	KnownHosts Strings `yaml:"known_hosts" is:"file" doc:"Files with host keys, in place of those of ssh_config."`
}

// Strings is one text or a list of them.
type Strings []string

// A Count is how many of something there are; 0: the file does not say.
type Count int

// Auto is a Count that the program decides.
const Auto Count = -1

// most are what Counts may be, by the tag "is".
var most = map[string]int64{"workers": 10000, "connections": acquire.MaxConnections}

// Logging is Margarita Shotgun's section for its log.
type Logging struct {
	Dir    string `yaml:"dir" is:"path" doc:"The folder for the log."`
	Prefix string `yaml:"prefix" is:"prefix" doc:"How the log's name begins."`
}

// Repository is Margarita Shotgun's section for modules that are downloaded, with the keys
// to trust, which it did not ask for.
type Repository struct {
	Enabled   bool    `yaml:"enabled" doc:"Download a module that fits."`
	URL       Strings `yaml:"url" is:"repository" doc:"Where the repository is: https://, s3:// or a folder."`
	Key       Strings `yaml:"key" is:"openpgp" doc:"The OpenPGP keys that may vouch for it: full fingerprints, or files."`
	CA        string  `yaml:"ca" is:"file" doc:"The CAs, in a PEM file, that alone may vouch for servers of https; else the system's."`
	GPGVerify *bool   `yaml:"gpg_verify" doc:"Check the repository's signatures; true unless said otherwise. Unchecked modules are unverified."`
	Manifest  string  `yaml:"manifest" doc:"Which list of the repository to use; primary unless said otherwise."`
}

// maxSize bounds a file: 1000 hosts with all keys fit several times.
const maxSize = 2 << 20

// Options say how to read a file.
type Options struct {
	// Dir is the folder that relative paths start from.
	Dir string
	// Home is what ~ stands for; empty leaves it alone.
	Home string
	// Exists says why a file that the hosts file names cannot be used. Nil: nobody
	// looks.
	Exists func(path string) error
}

// Load reads a file for use: it looks whether the files that it names are there. Relative paths start from its folder. The error is of
// the type Problems unless the file cannot be read at all.
func Load(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	home, _ := os.UserHomeDir()
	file, err := Parse(path, data, Options{Dir: dir, Home: home, Exists: func(p string) error {
		_, err := os.Stat(p)
		return err
	}})
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err == nil && runtime.GOOS != "windows" && info.Mode()&0o044 != 0 {
		for path, p := range file.places {
			if p.secret {
				file.Warnings = append(file.Warnings, p.problem(file.Path, file.lines,
					fmt.Sprintf("%s stands here in clear, and others can read the file: chmod 600 it, or take the secret from a file, the environment or a command", path)))
			}
		}
		sortProblems(file.Warnings)
		if n := len(file.Warnings); n > 1 { // one is enough to act on
			file.Warnings = file.Warnings[:1]
			file.Warnings[0].Message += fmt.Sprintf(" (and %d more)", n-1)
		}
	}
	return file, nil
}

// Warn adds a warning about a key of the file, such as repository.key.
func (f *File) Warn(key, message string) {
	f.Warnings = append(f.Warnings, f.places[key].problem(f.Path, f.lines, message))
	sortProblems(f.Warnings)
}

// Merged returns the hosts with the defaults applied.
func (f *File) Merged() []Host {
	out := make([]Host, len(f.Hosts))
	for i, h := range f.Hosts {
		h.Defaults = h.Defaults.over(f.Defaults)
		out[i] = h
	}
	return out
}
