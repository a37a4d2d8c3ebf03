//go:build autoscale

package autoscale

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// keys are the cluster's certificates and keys, as files in a folder.
type keys string

// pair is a certificate and its key.
type pair struct {
	cert     *x509.Certificate
	key      crypto.Signer
	certPEM  []byte
	keyPEM   []byte
	certFile string
	keyFile  string
}

// newKeys makes what the API server, those who call it, and KEDA's two parts need.
func newKeys(t *testing.T, dir string) keys {
	t.Helper()
	k := keys(dir)
	ca := k.issue(t, "ca", pkix.Name{CommonName: "autoscale"}, nil)
	k.issue(t, "apiserver", pkix.Name{CommonName: "kube-apiserver"}, ca, "127.0.0.1", "localhost")
	for name, subject := range map[string]pkix.Name{
		"admin":              {CommonName: "admin", Organization: []string{"system:masters"}},
		"controller-manager": {CommonName: "system:kube-controller-manager"},
		"scheduler":          {CommonName: "system:kube-scheduler"},
	} {
		k.kubeconfig(t, name, ca, k.issue(t, name, subject, ca))
	}
	proxies := k.issue(t, "front-proxy-ca", pkix.Name{CommonName: "front-proxy"}, nil)
	k.issue(t, "front-proxy", pkix.Name{CommonName: "front-proxy"}, proxies)
	k.issue(t, "accounts", pkix.Name{CommonName: "accounts"}, ca)
	// KEDA's parts look for these names, and read them for both ends of their connection.
	kedaCA := k.issue(t, "keda/ca", pkix.Name{CommonName: "KEDA"}, nil)
	k.issue(t, "keda/tls", pkix.Name{CommonName: "keda-operator"}, kedaCA, "127.0.0.1", "localhost", "keda-metrics-apiserver.keda.svc")
	return k
}

func (k keys) file(name string) string { return filepath.Join(string(k), name) }

// config is the file that a component reaches the API server by.
func (k keys) config(name string) string { return k.file(name + ".kubeconfig") }

// issue makes a pair and writes it; without an authority it is one.
func (k keys) issue(t *testing.T, name string, subject pkix.Name, by *pair, hosts ...string) *pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: serial, Subject: subject, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	p := &pair{key: key, certFile: k.file(name + ".crt"), keyFile: k.file(name + ".key")}
	parent, signer := template, crypto.Signer(key)
	if by == nil {
		template.IsCA, template.KeyUsage, template.ExtKeyUsage = true, x509.KeyUsageCertSign, nil
	} else {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	require.NoError(t, err)
	p.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	p.certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	p.keyPEM = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	require.NoError(t, os.MkdirAll(filepath.Dir(p.certFile), 0o700))
	require.NoError(t, os.WriteFile(p.certFile, p.certPEM, 0o600))
	require.NoError(t, os.WriteFile(p.keyFile, p.keyPEM, 0o600))
	return p
}

func (k keys) kubeconfig(t *testing.T, name string, ca, user *pair) {
	t.Helper()
	c := api.NewConfig()
	c.Clusters["autoscale"] = &api.Cluster{Server: "https://" + apiServer, CertificateAuthorityData: ca.certPEM}
	c.AuthInfos[name] = &api.AuthInfo{ClientCertificateData: user.certPEM, ClientKeyData: user.keyPEM}
	c.Contexts["autoscale"] = &api.Context{Cluster: "autoscale", AuthInfo: name}
	c.CurrentContext = "autoscale"
	require.NoError(t, clientcmd.WriteToFile(*c, k.config(name)))
}
