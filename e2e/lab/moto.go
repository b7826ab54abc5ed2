package lab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

// Moto is a running AWS emulator on a loopback port: moto's server, which someone else wrote. It
// checks no signatures and no policies.
type Moto struct {
	Endpoint string // http://127.0.0.1:PORT

	m *machine
}

// cfnLint is the version of cfn-lint that moto.sh installs with moto.
const cfnLint = "1.58.0"

// CfnLint returns the program that looks for mistakes in CloudFormation templates.
func (l *Lab) CfnLint() (string, error) {
	dir := filepath.Join(filepath.Dir(l.guest), "moto")
	if found, _ := filepath.Glob(filepath.Join(dir, "lib", "python3*", "site-packages", "cfn_lint-"+cfnLint+".dist-info")); len(found) == 0 {
		return "", fmt.Errorf("%w: no cfn-lint %s in %s: run e2e/lab/moto.sh (make e2e does)", ErrNotBuilt, cfnLint, dir)
	}
	return filepath.Join(dir, "bin", "cfn-lint"), nil
}

// MotoAccount is the account of those who call moto without having assumed a role.
const MotoAccount = "123456789012"

// StartMoto starts an emulator with nothing in it.
func (l *Lab) StartMoto(ctx context.Context) (_ *Moto, err error) {
	program := filepath.Join(filepath.Dir(l.guest), "moto", "bin", "moto_server")
	if _, err := os.Stat(program); err != nil {
		return nil, fmt.Errorf("%w: %w: run e2e/lab/moto.sh (make e2e does)", ErrNotBuilt, err)
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	host, port, _ := strings.Cut(addr, ":")
	m := &machine{done: make(chan struct{}), cmd: exec.Command(program, "-H", host, "-p", port)}
	m.cmd.Stderr, m.cmd.Stdout = &m.stderr, nil
	m.cmd.Env = append(os.Environ(), "MOTO_IAM_LOAD_MANAGED_POLICIES=true")
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := m.start(); err != nil {
		return nil, fmt.Errorf("start moto: %w", err)
	}
	moto := &Moto{Endpoint: "http://" + addr, m: m}
	if err := moto.answers(ctx); err != nil {
		return nil, errors.Join(err, moto.Close())
	}
	return moto, nil
}

// answers waits until moto does.
func (m *Moto) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute) // Python reads all of AWS's models
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.Endpoint+"/moto-api/", nil)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			return res.Body.Close()
		}
		if end := m.m.exited(); end != nil {
			return fmt.Errorf("moto: %w", end)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("moto does not answer: %w", err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// Config is a configuration for its account, in a region. No call is tried again: what moto does not know, it answers with
// errors of a server.
func (m *Moto) Config(region string) aws.Config {
	return aws.Config{Region: region, BaseEndpoint: &m.Endpoint, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("AKIALABLABLABLABLAB2", "secret", "")}
}

// Env is what a program needs to call it, and what keeps the machine's own credentials away from it.
func (m *Moto) Env(region string) []string {
	return []string{
		"AWS_ENDPOINT_URL=" + m.Endpoint, "AWS_ENDPOINT_URL_STS=" + m.Endpoint, "AWS_REGION=" + region, "AWS_ACCESS_KEY_ID=AKIALABLABLABLABLAB2",
		"AWS_SECRET_ACCESS_KEY=secret", "AWS_CONFIG_FILE=" + os.DevNull, "AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull, "AWS_EC2_METADATA_DISABLED=true",
	}
}

// Close stops it. What it had is gone.
func (m *Moto) Close() error {
	m.m.kill()
	return nil
}
