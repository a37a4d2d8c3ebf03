// Package address takes artifact URIs of object stores apart. It is apart for its
// fuzzer, which would build the stores' libraries otherwise.
package address

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Address is an artifact URI, taken apart.
type Address struct {
	Kind    Kind
	Bucket  string // or container
	Account string // Azure's
	Host    string // Azure's, of the account's blobs
	Path    string // of the model, "" for the whole bucket
}

// Kind is a protocol.
type Kind int

// The protocols.
const (
	S3 Kind = iota
	GCS
	Azure
)

// Parse takes an artifact URI apart: s3://bucket/path, gs://bucket/path,
// wasb[s]://container@account.blob.domain/path and
// abfs[s]://filesystem@account.dfs.domain/path, whose blobs are the same
// account's. Paths are as they are, but those of abfss, which MLflow decodes.
func Parse(uri string) (Address, error) {
	if i := strings.IndexFunc(uri, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
		return Address{}, errors.New("it holds control characters")
	}
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok || strings.ContainsAny(rest, "?#") {
		return Address{}, errors.New("it is no address of a bucket and a path")
	}
	where, path, _ := strings.Cut(rest, "/")
	a := Address{Bucket: where, Path: strings.Trim(path, "/")}
	switch scheme {
	case "s3", "s3a", "s3n":
		a.Kind = S3
	case "gs":
		a.Kind = GCS
	case "wasb", "wasbs":
		return a.azure(where, "blob")
	case "abfs", "abfss":
		decoded, err := url.PathUnescape(a.Path)
		if err != nil {
			return Address{}, errors.New("its path is malformed")
		}
		a.Path = strings.Trim(decoded, "/")
		return a.azure(where, "dfs")
	default:
		return Address{}, fmt.Errorf("scheme %q is not known", scheme)
	}
	if a.Bucket == "" || strings.ContainsAny(a.Bucket, `@\ `) {
		return Address{}, fmt.Errorf("%q is no bucket", a.Bucket)
	}
	return a, a.checkPath()
}

// azure reads container@account.service.domain. A private link's dfs and blob
// endpoints differ as the public ones do.
func (a Address) azure(where, service string) (Address, error) {
	container, host, ok := strings.Cut(where, "@")
	account, domain, dot := strings.Cut(host, ".")
	if !ok || container == "" || account == "" || !dot || domain == "" || strings.ContainsAny(host, `@\%: `) || strings.ContainsAny(container, `\%: `) {
		return Address{}, fmt.Errorf("%q is not container@account.%s.core.windows.net or its like", where, service)
	}
	if service == "dfs" {
		parts := strings.Split(domain, ".")
		for i, part := range parts {
			if part == "dfs" {
				parts[i] = "blob"
				break
			}
		}
		domain = strings.Join(parts, ".")
	}
	a.Kind, a.Bucket, a.Account, a.Host = Azure, container, account, account+"."+domain
	return a, a.checkPath()
}

// checkPath refuses a path that names another folder than it seems to.
func (a Address) checkPath() error {
	if strings.Contains(a.Path, `\`) {
		return fmt.Errorf("its path %q holds a backslash", a.Path)
	}
	for seg := range strings.SplitSeq(a.Path, "/") {
		if seg == ".." || seg == "." || (seg == "" && a.Path != "") {
			return fmt.Errorf("its path %q holds an empty or dotted part", a.Path)
		}
	}
	return nil
}

// Prefix is what the keys of the model's objects begin with.
func (a Address) Prefix() string {
	if a.Path == "" {
		return ""
	}
	return a.Path + "/"
}
