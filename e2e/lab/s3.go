package lab

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// S3 is a running S3 server on a loopback port, with TLS and one bucket that has versioning
// and Object Lock.
type S3 struct {
	Endpoint string // https://127.0.0.1:PORT
	Bucket   string
	CA       string     // file with the server's certificate
	Key      string     // file with its key
	Client   *s3.Client // as its root user

	dir     string
	program string
	m       *machine
}

// These open nothing but servers on a loopback port of the machine they run on.
const (
	s3Access = "shotglass"
	s3Secret = "shotglass-lab-secret"
	s3Region = "us-east-1"
	s3Domain = "s3." + s3Region + ".amazonaws.com" // for who takes the server for S3: buckets are names below it
)

// Credentials are those of the server's root user.
func (s *S3) Credentials() (access, secret string) { return s3Access, s3Secret }

// Env is what an AWS client needs to reach the server, and what keeps the machine's own
// credentials away from it.
func (s *S3) Env() []string {
	none := filepath.Join(s.dir, "none")
	return []string{
		"AWS_ACCESS_KEY_ID=" + s3Access, "AWS_SECRET_ACCESS_KEY=" + s3Secret, "AWS_REGION=" + s3Region, "AWS_CA_BUNDLE=" + s.CA,
		"AWS_CONFIG_FILE=" + none, "AWS_SHARED_CREDENTIALS_FILE=" + none, "AWS_EC2_METADATA_DISABLED=true",
	}
}

// StartS3 starts a server. What it stores is gone after Close, also locked objects.
func (l *Lab) StartS3(ctx context.Context) (_ *S3, err error) {
	program := filepath.Join(filepath.Dir(l.guest), "s3server", "versitygw")
	if _, err := os.Stat(program); err != nil {
		return nil, fmt.Errorf("%w: %w: run e2e/lab/s3server.sh (make e2e does)", ErrNotBuilt, err)
	}
	dir, err := os.MkdirTemp("", "shotglass-s3-")
	if err != nil {
		return nil, err
	}
	s := &S3{Bucket: "evidence", dir: dir, program: program, CA: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	key := filepath.Join(dir, "key.pem")
	pool, err := SelfSigned(s.CA, key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	for _, sub := range []string{"data", "versions"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	s.Endpoint = "https://" + addr
	if err := s.start(); err != nil {
		return nil, err
	}
	s.Client = s3.New(s3.Options{
		BaseEndpoint: &s.Endpoint, Region: s3Region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(s3Access, s3Secret, ""),
		HTTPClient:  &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}},
	})
	return s, s.bucket(ctx)
}

// start starts the server.
func (s *S3) start() error {
	m := &machine{done: make(chan struct{}), cmd: exec.Command(s.program,
		"--port", strings.TrimPrefix(s.Endpoint, "https://"), "--cert", s.CA, "--key", s.Key, "--region", s3Region, "--virtual-domain", s3Domain, "--quiet",
		"posix", "--versioning-dir", filepath.Join(s.dir, "versions"), filepath.Join(s.dir, "data"))}
	m.cmd.Dir = s.dir
	m.cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY_ID="+s3Access, "ROOT_SECRET_ACCESS_KEY="+s3Secret)
	m.cmd.Stderr, m.cmd.Stdout = &m.stderr, nil
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := m.start(); err != nil {
		return fmt.Errorf("start versitygw: %w", err)
	}
	s.m = m
	return nil
}

// Kill ends the server at once, as a crash does. What it has stored stays.
func (s *S3) Kill() {
	s.m.kill()
	s.m = nil
}

// Freeze makes the server hang: it takes connections, and answers nothing, until Thaw. When it returns, no thread runs: the signal
// takes effect when one of them is scheduled, and until then the others answer.
func (s *S3) Freeze() error {
	if err := s.m.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", s.m.cmd.Process.Pid))
		if err != nil {
			return err
		}
		if len(tasks) > 0 && !slices.ContainsFunc(tasks, func(task string) bool {
			stat, err := os.ReadFile(task)
			_, state, _ := strings.Cut(string(stat), ") ")
			return err != nil || !strings.HasPrefix(state, "T")
		}) {
			return nil
		}
	}
	return errors.New("versitygw does not stop")
}

// Thaw lets a server that hangs go on.
func (s *S3) Thaw() error { return s.m.cmd.Process.Signal(syscall.SIGCONT) }

// Restart starts a server that was killed, at its address, and returns when it answers.
func (s *S3) Restart(ctx context.Context) error {
	if err := s.start(); err != nil {
		return err
	}
	return s.answers(ctx, func() error {
		_, err := s.Client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &s.Bucket})
		return err
	})
}

// bucket makes the bucket once the server answers.
func (s *S3) bucket(ctx context.Context) error {
	return s.answers(ctx, func() error {
		_, err := s.Client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &s.Bucket, ObjectLockEnabledForBucket: aws.Bool(true)})
		return err
	})
}

// answers repeats a question until it is answered.
func (s *S3) answers(ctx context.Context, ask func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		if end := s.m.exited(); end != nil {
			return fmt.Errorf("versitygw: %w", end)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("versitygw does not answer: %w", err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// Close stops the server and removes what it stored.
func (s *S3) Close() error {
	if s.m != nil {
		s.m.kill()
	}
	return os.RemoveAll(s.dir)
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// SelfSigned makes a certificate for the loopback address.
func SelfSigned(certFile, keyFile string) (*x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "shotglass lab"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost", "*." + s3Domain},
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return pool, errors.Join(
		os.WriteFile(certFile, cert, 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
}

// Uploads lists the keys of the multipart uploads that have not ended.
func (s *S3) Uploads(ctx context.Context) (keys []string, err error) {
	out, err := s.Client.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: &s.Bucket})
	if err != nil {
		return nil, err
	}
	for _, u := range out.Uploads {
		keys = append(keys, aws.ToString(u.Key))
	}
	return keys, nil
}

// Keys lists the objects under a prefix.
func (s *S3) Keys(ctx context.Context, prefix string) (keys []string, err error) {
	out, err := s.Client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &s.Bucket, Prefix: &prefix})
	if err != nil {
		return nil, err
	}
	for _, o := range out.Contents {
		keys = append(keys, aws.ToString(o.Key))
	}
	return keys, nil
}

// Stored returns an object.
func (s *S3) Stored(ctx context.Context, key string) ([]byte, error) {
	out, err := s.Client.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.Bucket, Key: &key})
	if err != nil {
		return nil, err
	}
	defer out.Body.Close()
	var b bytes.Buffer
	_, err = b.ReadFrom(out.Body)
	return b.Bytes(), err
}
