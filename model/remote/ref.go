package remote

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Protocol is what an endpoint speaks. It is the flavor of its models.
type Protocol string

// The protocols.
const (
	V2      Protocol = "v2"     // Open Inference Protocol V2, over HTTP
	Scoring Protocol = "mlflow" // MLflow's scoring server
)

// Ref is a parsed reference to a model that is served elsewhere.
type Ref struct {
	Protocol Protocol
	Model    string // V2's; empty for a scoring server, which has one
	Version  string // V2's; empty: the newest that the endpoint serves

	base url.URL       // http(s)://host[:port][/prefix], without credentials
	user *url.Userinfo // nil: those of the configuration
}

// ErrBadReference marks a text that is no reference to a remote model. Errors
// do not repeat the text, which may hold a password.
var ErrBadReference = errors.New("not a reference to a remote model")

// IsRef says whether a text is meant as a reference of this package.
func IsRef(s string) bool {
	scheme, _, _ := strings.Cut(s, ":")
	p, _, ok := strings.Cut(scheme, "+")
	return ok && (Protocol(p) == V2 || Protocol(p) == Scoring)
}

// ParseRef reads v2+http://host:port/model[/version] or
// mlflow+http://host:port, https likewise, each with user:password@ where the
// endpoint asks for it. An endpoint below a prefix is written out:
// v2+https://host/prefix/v2/models/model[/versions/version] and
// mlflow+https://host/prefix.
func ParseRef(s string) (Ref, error) {
	r, err := parseRef(s)
	if err != nil {
		return Ref{}, fmt.Errorf("%w: %w", ErrBadReference, err)
	}
	return r, nil
}

func parseRef(s string) (Ref, error) {
	if !IsRef(s) {
		return Ref{}, errors.New("want v2+http(s)://… or mlflow+http(s)://…")
	}
	protocol, address, _ := strings.Cut(s, "+")
	u, err := url.Parse(address)
	if err != nil { // whose text holds the URL
		return Ref{}, errors.New("the URL is malformed")
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return Ref{}, fmt.Errorf("scheme %q, where http or https should be", u.Scheme)
	case u.Hostname() == "" || u.Opaque != "":
		return Ref{}, errors.New("the URL names no host")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return Ref{}, errors.New("the URL has a query or a fragment")
	}
	r := Ref{Protocol: Protocol(protocol), base: url.URL{Scheme: u.Scheme, Host: u.Host}, user: u.User}
	segments, err := segmentsOf(u)
	if err != nil {
		return Ref{}, err
	}
	if r.Protocol == Scoring {
		if n := len(segments); n > 0 && segments[n-1] == "invocations" {
			segments = segments[:n-1]
		}
		r.below(segments)
		return r, nil
	}
	return r, r.setModel(segments)
}

// setModel takes the model, and what comes before it, from the path.
func (r *Ref) setModel(segments []string) error {
	for i := range segments {
		if i+1 < len(segments) && segments[i] == "v2" && segments[i+1] == "models" {
			r.below(segments[:i])
			segments = segments[i+2:]
			if len(segments) == 3 && segments[1] == "versions" {
				segments = []string{segments[0], segments[2]}
			} else if len(segments) != 1 {
				segments = nil
			}
			break
		}
	}
	switch len(segments) {
	case 2:
		r.Version = segments[1]
		fallthrough
	case 1:
		r.Model = segments[0]
		return nil
	}
	return errors.New("want v2+http://host:port/model or …/model/version; below a prefix …/prefix/v2/models/model")
}

// below puts the endpoint below a prefix.
func (r *Ref) below(prefix []string) {
	if len(prefix) > 0 {
		r.base = *r.base.JoinPath(escaped(prefix)...)
	}
}

// segmentsOf is the path, decoded, without a slash at the end.
func segmentsOf(u *url.URL) ([]string, error) {
	text := strings.TrimSuffix(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
	if text == "" {
		return nil, nil
	}
	segments := strings.Split(text, "/")
	for i, s := range segments {
		plain, err := url.PathUnescape(s)
		if err != nil || plain == "" || plain == "." || plain == ".." || strings.ContainsFunc(plain, isControl) {
			return nil, errors.New("a part of the path is empty or malformed")
		}
		segments[i] = plain
	}
	return segments, nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

func escaped(segments []string) []string {
	out := make([]string, len(segments))
	for i, s := range segments {
		out[i] = url.PathEscape(s)
	}
	return out
}

// url is an address below the endpoint; segments are encoded.
func (r *Ref) url(segments ...string) string { return r.base.JoinPath(escaped(segments)...).String() }

// String is the reference without credentials.
func (r Ref) String() string {
	if r.Protocol == Scoring {
		return string(r.Protocol) + "+" + r.base.String()
	}
	tail := []string{r.Model}
	if r.base.Path != "" {
		tail = []string{"v2", "models", r.Model}
		if r.Version != "" {
			tail = append(tail, "versions")
		}
	}
	if r.Version != "" {
		tail = append(tail, r.Version)
	}
	return string(r.Protocol) + "+" + r.url(tail...)
}

// Name is what the model is called before its endpoint was asked: V2's own
// name; a scoring server has none but its address.
func (r Ref) Name() string {
	if r.Protocol == Scoring {
		return r.base.Host
	}
	return r.Model
}
