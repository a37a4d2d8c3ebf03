package blobstore_test

import (
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model/mlflow"
	"github.com/millrace/millrace/model/mlflow/blobstore"
)

// azure speaks the calls of Azure's Blob service that a download needs: List
// Blobs, Get Blob and Put Blob. It answers only a signed request for its account.
type azure struct {
	mu    sync.Mutex
	files map[string]string
	cut   bool // the next body of model.onnx
	hosts []string
	auth  string // how requests must be signed
	sum   string // in place of every MD5
}

func (s *azure) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hosts = append(s.hosts, r.Host)
	if !strings.HasPrefix(r.Header.Get("Authorization")+r.URL.Query().Get("sig"), s.auth) {
		w.Header().Set("X-Ms-Error-Code", "AuthenticationFailed")
		w.WriteHeader(http.StatusForbidden)
		return
	}
	p := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/acc"), "/box")
	if r.URL.Query().Get("comp") == "list" {
		s.list(w, r.URL.Query().Get("prefix"))
		return
	}
	if r.Method == http.MethodPut {
		text, _ := io.ReadAll(r.Body)
		s.files[strings.TrimPrefix(p, "/")] = string(text)
		w.WriteHeader(http.StatusCreated)
		return
	}
	text, ok := s.files[strings.TrimPrefix(p, "/")]
	if !ok {
		w.Header().Set("X-Ms-Error-Code", "BlobNotFound")
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("X-Ms-Blob-Content-Md5", s.md5(text))
	w.Header().Set("ETag", `"0x1"`)
	if r.Header.Get("Range") == "" {
		r.Header.Set("Range", r.Header.Get("X-Ms-Range"))
	}
	if s.cut && strings.HasSuffix(p, "model.onnx") {
		s.cut = false
		w = &cutting{ResponseWriter: w, left: 12_345}
	}
	http.ServeContent(w, r, "", time.Unix(1, 0), strings.NewReader(text))
}

func (s *azure) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *azure) md5(text string) string {
	if s.sum != "" {
		return s.sum
	}
	sum := md5.Sum([]byte(text))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func (s *azure) list(w http.ResponseWriter, prefix string) {
	var names []string
	for name := range s.files {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	_, _ = io.WriteString(w, `<?xml version="1.0" encoding="utf-8"?><EnumerationResults ContainerName="box"><Blobs>`)
	for _, name := range names {
		_, _ = fmt.Fprintf(w, `<Blob><Name>%s</Name><Properties><Last-Modified>Thu, 01 Jan 2026 00:00:00 GMT</Last-Modified><Etag>0x1</Etag><Content-Length>%d</Content-Length><Content-MD5>%s</Content-MD5><BlobType>BlockBlob</BlobType></Properties></Blob>`,
			name, len(s.files[name]), s.md5(s.files[name]))
	}
	_, _ = io.WriteString(w, `</Blobs><NextMarker /></EnumerationResults>`)
}

func startAzure(t *testing.T, auth string) (*azure, *httptest.Server) {
	t.Helper()
	s := &azure{files: map[string]string{}, auth: auth}
	for name, text := range model {
		s.files["0/m/"+name] = text
	}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return s, srv
}

// to sends every request to one server, whatever its host.
type to struct{ base *url.URL }

func (t to) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Host, r.URL.Host, r.URL.Scheme = r.URL.Host, t.base.Host, t.base.Scheme
	return http.DefaultTransport.RoundTrip(r)
}

const azureKey = "c2VjcmV0"

// TestAzure holds how each credential that MLflow reads is used, and where its
// requests go.
func TestAzure(t *testing.T) {
	cases := map[string]struct {
		uri, auth, host string
		cfg             func(at string) blobstore.Config
	}{
		"connection string": {uri: "wasbs://box@acc.blob.core.windows.net/0/m", auth: "SharedKey acc:", cfg: func(at string) blobstore.Config {
			return blobstore.Config{AzureConnection: "DefaultEndpointsProtocol=http;AccountName=acc;AccountKey=" + azureKey + ";BlobEndpoint=" + at + "/acc;"}
		}},
		"access key": {uri: "abfss://box@acc.dfs.core.windows.net/0/m", auth: "SharedKey acc:", host: "acc.blob.core.windows.net", cfg: func(string) blobstore.Config {
			return blobstore.Config{AzureKey: azureKey}
		}},
		"signature": {uri: "wasbs://box@acc.blob.core.usgovcloudapi.net/0/m", auth: "abc", host: "acc.blob.core.usgovcloudapi.net", cfg: func(string) blobstore.Config {
			return blobstore.Config{AzureSAS: "sv=2026&sig=abc"}
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s, srv := startAzure(t, c.auth)
			cfg := c.cfg(srv.URL)
			base, err := url.Parse(srv.URL)
			require.NoError(t, err)
			cfg.Transport = to{base}
			dir, err := fetch(t, cfg, c.uri)
			require.NoError(t, err)
			requireFiles(t, dir, model)
			s.change(func() {
				if c.host != "" {
					require.Equal(t, []string{c.host}, slices.Compact(s.hosts))
				}
				s.cut = true
			})
			dir, err = fetch(t, cfg, c.uri)
			require.NoError(t, err)
			requireFiles(t, dir, model)
			s.change(func() { s.sum = "AAAAAAAAAAAAAAAAAAAAAA==" })
			_, err = fetch(t, cfg, c.uri)
			require.ErrorIs(t, err, mlflow.ErrArtifact)
			s.change(func() { s.auth = "another" })
			_, err = fetch(t, cfg, c.uri)
			require.ErrorIs(t, err, mlflow.ErrNoAccess)
			require.NotContains(t, err.Error(), "sig=")
		})
	}
}

// TestAzureUploads: one that fails says so.
func TestAzureUploads(t *testing.T) {
	s, srv := startAzure(t, "SharedKey acc:")
	base, err := url.Parse(srv.URL)
	require.NoError(t, err)
	b, err := blobstore.Config{AzureKey: azureKey, Transport: to{base}}.Open(t.Context(), "wasbs://box@acc.blob.core.windows.net/up", true)
	require.NoError(t, err)
	put(t, b, map[string]string{"a": "text", "empty": ""})
	s.change(func() {
		require.Equal(t, "text", s.files["up/a"])
		require.Contains(t, s.files, "up/empty")
		s.auth = "another"
	})
	require.ErrorIs(t, b.Put(t.Context(), "b", 4, strings.NewReader("text")), mlflow.ErrNoAccess)
	require.Error(t, b.Put(t.Context(), "b", 5, strings.NewReader("text")))
}

func TestAzureRefuses(t *testing.T) {
	for _, cfg := range []blobstore.Config{{AzureConnection: "AccountKey=" + azureKey}, {AzureKey: "secret that is not base64"}} {
		_, err := cfg.Open(t.Context(), "wasbs://box@acc.blob.core.windows.net/m", false)
		require.ErrorIs(t, err, mlflow.ErrNoAccess)
		require.ErrorContains(t, err, "malformed")
		require.NotContains(t, err.Error(), azureKey)
		require.NotContains(t, err.Error(), "secret that")
	}
}
