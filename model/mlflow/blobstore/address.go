package blobstore

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// address is an artifact URI, taken apart.
type address struct {
	kind    kind
	bucket  string // or container
	account string // Azure's
	host    string // Azure's, of the account's blobs
	path    string // of the model, "" for the whole bucket
}

type kind int

const (
	kindS3 kind = iota
	kindGCS
	kindAzure
)

// parse takes an artifact URI apart: s3://bucket/path, gs://bucket/path,
// wasb[s]://container@account.blob.domain/path and
// abfs[s]://filesystem@account.dfs.domain/path, whose blobs are the same
// account's. Paths are as they are, but those of abfss, which MLflow decodes.
func parse(uri string) (address, error) {
	if i := strings.IndexFunc(uri, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
		return address{}, errors.New("it holds control characters")
	}
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok || strings.ContainsAny(rest, "?#") {
		return address{}, errors.New("it is no address of a bucket and a path")
	}
	where, path, _ := strings.Cut(rest, "/")
	a := address{bucket: where, path: strings.Trim(path, "/")}
	switch scheme {
	case "s3", "s3a", "s3n":
		a.kind = kindS3
	case "gs":
		a.kind = kindGCS
	case "wasb", "wasbs":
		return a.azure(where, "blob")
	case "abfs", "abfss":
		decoded, err := url.PathUnescape(a.path)
		if err != nil {
			return address{}, errors.New("its path is malformed")
		}
		a.path = strings.Trim(decoded, "/")
		return a.azure(where, "dfs")
	default:
		return address{}, fmt.Errorf("scheme %q is not known", scheme)
	}
	if a.bucket == "" || strings.ContainsAny(a.bucket, `@\ `) {
		return address{}, fmt.Errorf("%q is no bucket", a.bucket)
	}
	return a, a.checkPath()
}

// azure reads container@account.service.domain. A private link's dfs and blob
// endpoints differ as the public ones do.
func (a address) azure(where, service string) (address, error) {
	container, host, ok := strings.Cut(where, "@")
	account, domain, dot := strings.Cut(host, ".")
	if !ok || container == "" || account == "" || !dot || domain == "" || strings.ContainsAny(host, `@\%: `) || strings.ContainsAny(container, `\%: `) {
		return address{}, fmt.Errorf("%q is not container@account.%s.core.windows.net or its like", where, service)
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
	a.kind, a.bucket, a.account, a.host = kindAzure, container, account, account+"."+domain
	return a, a.checkPath()
}

// checkPath refuses a path that names another folder than it seems to.
func (a address) checkPath() error {
	if strings.Contains(a.path, `\`) {
		return fmt.Errorf("its path %q holds a backslash", a.path)
	}
	for seg := range strings.SplitSeq(a.path, "/") {
		if seg == ".." || seg == "." || (seg == "" && a.path != "") {
			return fmt.Errorf("its path %q holds an empty or dotted part", a.path)
		}
	}
	return nil
}

func (a address) prefix() string {
	if a.path == "" {
		return ""
	}
	return a.path + "/"
}
