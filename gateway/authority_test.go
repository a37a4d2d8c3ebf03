package gateway_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// authority signs certificates of a test.
type authority struct {
	t     *testing.T
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
	pem   []byte
	until time.Time
}

// issued is a certificate and its key, in PEM.
type issued struct{ cert, key []byte }

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	a := &authority{t: t, key: key, until: time.Now().Add(24 * time.Hour)}
	text := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true}, nil, &key.PublicKey)
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: text})
	a.cert, err = x509.ParseCertificate(text)
	require.NoError(t, err)
	return a
}

func (a *authority) sign(c, parent *x509.Certificate, public *ecdsa.PublicKey) []byte {
	a.t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(a.t, err)
	c.SerialNumber, c.NotBefore, c.NotAfter = serial, time.Now().Add(-time.Hour), a.until
	if parent == nil {
		parent = c
	}
	text, err := x509.CreateCertificate(rand.Reader, c, parent, public, a.key)
	require.NoError(a.t, err)
	return text
}

func (a *authority) issue(name string) issued {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	text := a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, &key.PublicKey)
	private, err := x509.MarshalECPrivateKey(key)
	require.NoError(a.t, err)
	return issued{
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: text}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}),
	}
}

func (i issued) write(t *testing.T, cert, key string) {
	t.Helper()
	require.NoError(t, os.WriteFile(cert, i.cert, 0o600))
	require.NoError(t, os.WriteFile(key, i.key, 0o600))
}

func (i issued) pair(t *testing.T) tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(i.cert, i.key)
	require.NoError(t, err)
	return pair
}
