package build

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"

	"github.com/shotglass-ir/shotglass/kernelmodules"
)

// A kernel that enforces signatures (Secure Boot) takes a module with a PKCS#7 signature behind it: as
// scripts/sign-file makes it, over the module's bytes, without attributes, and without the certificate, which is in
// the kernel's or the machine's keyring. It is written with encoding/asn1, since the CMS packages that were looked at
// always enclose the certificate; the bytes are those of sign-file.

// A Signer signs modules for kernels that have its certificate. It is safe for concurrent use.
type Signer struct {
	key  crypto.Signer
	cert *x509.Certificate
	hash hashAlgorithm
}

type hashAlgorithm struct {
	name  string
	hash  crypto.Hash
	oid   asn1.ObjectIdentifier
	ecdsa asn1.ObjectIdentifier // with this hash
}

// hashes are those that kernels take.
var hashes = []hashAlgorithm{
	{"sha256", crypto.SHA256, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}, asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}},
	{"sha384", crypto.SHA384, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}, asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}},
	{"sha512", crypto.SHA512, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}, asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}},
}

var (
	oidData       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidSignedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidRSA        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
)

// maxKeyFile bounds files with keys and certificates, in bytes.
const maxKeyFile = 1 << 20

// NewSigner reads a private key (PEM) and its certificate (PEM or DER). hash is sha256, sha384 or sha512.
func NewSigner(keyFile, certFile, hash string) (*Signer, error) {
	s := &Signer{}
	for _, h := range hashes {
		if h.name == hash {
			s.hash = h
		}
	}
	if s.hash.name == "" {
		return nil, fmt.Errorf("hash %q: want sha256, sha384 or sha512", hash)
	}
	var err error
	if s.key, err = readKey(keyFile); err != nil {
		return nil, fmt.Errorf("key %s: %w", keyFile, err)
	}
	if s.cert, err = ReadCertificate(certFile); err != nil {
		return nil, err
	}
	if pub, ok := s.key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(s.cert.PublicKey) {
		return nil, fmt.Errorf("the certificate %s is not for the key %s", certFile, keyFile)
	}
	return s, nil
}

func readKey(name string) (crypto.Signer, error) {
	data, err := readSmall(name)
	if err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		var key any
		switch block.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			if block.Headers["DEK-Info"] != "" {
				return nil, errEncrypted
			}
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			if block.Headers["DEK-Info"] != "" {
				return nil, errEncrypted
			}
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			return nil, errEncrypted
		default:
			continue // a certificate, parameters
		}
		if err != nil {
			return nil, err
		}
		switch k := key.(type) {
		case *rsa.PrivateKey:
			return k, nil
		case *ecdsa.PrivateKey:
			return k, nil
		}
		return nil, fmt.Errorf("is of a kind (%T) that kernels do not take: want RSA or ECDSA", key)
	}
	return nil, errors.New("holds no private key in PEM")
}

var errEncrypted = errors.New("is encrypted: build without it, sign with the kernel's scripts/sign-file, which also knows tokens, and take the result with modules add")

// ReadCertificate reads a certificate, in PEM or DER.
func ReadCertificate(name string) (*x509.Certificate, error) {
	data, err := readSmall(name)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			data = block.Bytes
			break
		}
	}
	c, err := x509.ParseCertificate(data)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", name, err)
	}
	return c, nil
}

func readSmall(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxKeyFile {
		return nil, fmt.Errorf("%s is no file of at most %d bytes", name, maxKeyFile)
	}
	return os.ReadFile(name)
}

// PKCS#7 (RFC 2315), as far as kernels want it. They want the digest's algorithm without parameters, as OpenSSL
// writes it.
type contentInfo struct {
	Type    asn1.ObjectIdentifier
	Content signedData `asn1:"explicit,tag:0"`
}

type signedData struct {
	Version int
	Digests []pkix.AlgorithmIdentifier `asn1:"set"`
	Data    struct{ Type asn1.ObjectIdentifier }
	Signers []signerInfo `asn1:"set"`
}

type signerInfo struct {
	Version   int
	Issuer    issuerAndSerial
	Digest    pkix.AlgorithmIdentifier
	Algorithm pkix.AlgorithmIdentifier
	Signature []byte
}

type issuerAndSerial struct {
	Issuer asn1.RawValue
	Serial *big.Int
}

const (
	signatureMarker = "~Module signature appended~\n"
	pkcs7Type       = 2 // PKEY_ID_PKCS7
)

// Sign returns m with a signature behind it, which it has verified, and what the record says of it.
func (s *Signer) Sign(m *kernelmodules.Module) (*kernelmodules.Module, *kernelmodules.RecordSignature, error) {
	if m.Signed {
		return nil, nil, fmt.Errorf("module %s is signed already", m.Origin)
	}
	der, err := s.pkcs7(m.Data)
	if err != nil {
		return nil, nil, fmt.Errorf("sign module %s: %w", m.Origin, err)
	}
	// struct module_signature of include/linux/module_signature.h.
	trailer := make([]byte, 12, 12+len(signatureMarker))
	trailer[2] = pkcs7Type
	binary.BigEndian.PutUint32(trailer[8:], uint32(len(der)))
	data := bytes.Join([][]byte{m.Data, der, append(trailer, signatureMarker...)}, nil)
	signed, err := kernelmodules.Parse(data, m.Origin)
	if err != nil {
		return nil, nil, err
	}
	signed.Signature = m.Signature
	record, err := VerifySignature(signed, s.cert)
	return signed, record, err
}

func (s *Signer) pkcs7(data []byte) ([]byte, error) {
	h := s.hash.hash.New()
	h.Write(data)
	signature, err := s.key.Sign(rand.Reader, h.Sum(nil), s.hash.hash)
	if err != nil {
		return nil, err
	}
	digest := pkix.AlgorithmIdentifier{Algorithm: s.hash.oid}
	algorithm := pkix.AlgorithmIdentifier{Algorithm: s.hash.ecdsa}
	if _, ok := s.key.Public().(*rsa.PublicKey); ok {
		algorithm = pkix.AlgorithmIdentifier{Algorithm: oidRSA, Parameters: asn1.NullRawValue}
	}
	c := contentInfo{Type: oidSignedData, Content: signedData{
		Version: 1,
		Digests: []pkix.AlgorithmIdentifier{digest},
		Signers: []signerInfo{{
			Version:   1,
			Issuer:    issuerAndSerial{asn1.RawValue{FullBytes: s.cert.RawIssuer}, s.cert.SerialNumber},
			Digest:    digest,
			Algorithm: algorithm,
			Signature: signature,
		}},
	}}
	c.Content.Data.Type = oidData
	return asn1.Marshal(c)
}

// VerifySignature checks that the signature behind a module was made by the key of a certificate, and returns what a
// record says of it. It knows signatures of the form that Sign and scripts/sign-file make.
func VerifySignature(m *kernelmodules.Module, cert *x509.Certificate) (*kernelmodules.RecordSignature, error) {
	no := func(format string, args ...any) error {
		return fmt.Errorf("module %s: "+format, append([]any{m.Origin}, args...)...)
	}
	if !m.Signed {
		return nil, no("is not signed")
	}
	end := len(m.Data) - len(signatureMarker) - 12
	size := int(binary.BigEndian.Uint32(m.Data[end+8:])) // Parse has seen that it lies within
	body, der := m.Data[:end-size], m.Data[end-size:end]
	if m.Data[end+2] != pkcs7Type {
		return nil, no("its signature is of the type %d, not PKCS#7", m.Data[end+2])
	}
	var c contentInfo
	if rest, err := asn1.Unmarshal(der, &c); err != nil || len(rest) > 0 || len(c.Content.Signers) != 1 {
		return nil, no("its signature cannot be read: %d bytes follow, %d signers, %v", len(rest), len(c.Content.Signers), err)
	}
	signer := c.Content.Signers[0]
	if !bytes.Equal(signer.Issuer.Issuer.FullBytes, cert.RawIssuer) || signer.Issuer.Serial == nil || signer.Issuer.Serial.Cmp(cert.SerialNumber) != 0 {
		return nil, no("it was signed with another certificate, of the serial number %x, not with %q (%x)", signer.Issuer.Serial, cert.Subject, cert.SerialNumber)
	}
	for _, h := range hashes {
		if !h.oid.Equal(signer.Digest.Algorithm) {
			continue
		}
		sum := h.hash.New()
		sum.Write(body)
		good := false
		switch pub := cert.PublicKey.(type) {
		case *rsa.PublicKey:
			good = rsa.VerifyPKCS1v15(pub, h.hash, sum.Sum(nil), signer.Signature) == nil
		case *ecdsa.PublicKey:
			good = ecdsa.VerifyASN1(pub, sum.Sum(nil), signer.Signature)
		}
		if !good {
			return nil, no("its signature is not that of its bytes by %q", cert.Subject)
		}
		certificate, unsigned := sha256.Sum256(cert.Raw), sha256.Sum256(body)
		return &kernelmodules.RecordSignature{
			Hash: h.name, Subject: cert.Subject.String(), Serial: fmt.Sprintf("%x", cert.SerialNumber),
			Certificate: hex.EncodeToString(certificate[:]), Unsigned: hex.EncodeToString(unsigned[:]),
		}, nil
	}
	return nil, no("its signature is over an unknown digest, %v", signer.Digest.Algorithm)
}
