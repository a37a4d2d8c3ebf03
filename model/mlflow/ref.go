package mlflow

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// Kind says what a [Ref] names.
type Kind int

// The kinds of references.
const (
	KindFolder      Kind = iota // a folder on this machine
	KindAlias                   // models:/name@alias
	KindVersion                 // models:/name/3
	KindLatest                  // models:/name/latest
	KindStage                   // models:/name/Production, deprecated by MLflow
	KindLoggedModel             // models:/m-…
	KindRun                     // runs:/id/path
)

// Ref is a parsed reference to a model.
type Ref struct {
	Kind    Kind
	Name    string // the registered model's
	Alias   string
	Version string // a decimal number without leading zeros
	Stage   string // as MLflow spells it
	ID      string // of a run or a logged model
	Path    string // in a run's artifacts, or of a folder
}

// ErrBadReference marks a text that is no reference to a model.
var ErrBadReference = errors.New("not a model reference")

// ParseRef reads a reference: models:/name@alias, models:/name/3,
// models:/name/latest, models:/name/Production, models:/m-…, runs:/id/path,
// file:/path or the path of a folder.
func ParseRef(s string) (Ref, error) {
	r, err := parseRef(s)
	if err != nil {
		return Ref{}, fmt.Errorf("%w: %q: %w", ErrBadReference, s, err)
	}
	return r, nil
}

func parseRef(s string) (Ref, error) {
	if s == "" {
		return Ref{}, errors.New("it is empty")
	}
	if strings.ContainsFunc(s, isControl) {
		return Ref{}, errors.New("it holds control characters")
	}
	scheme, rest, found := strings.Cut(s, ":")
	if !found || strings.ContainsAny(scheme, `/\.`) {
		return Ref{Kind: KindFolder, Path: filepath.Clean(s)}, nil
	}
	switch scheme {
	case "models":
		return parseModels(rest)
	case "runs":
		return parseRuns(rest)
	case "file":
		p, err := localPath(s)
		return Ref{Kind: KindFolder, Path: p}, err
	}
	return Ref{}, fmt.Errorf("scheme %q; known are models:/, runs:/, file:/ and folders", scheme)
}

func parseModels(rest string) (Ref, error) {
	body, ok := strings.CutPrefix(rest, "/")
	if !ok || strings.HasPrefix(body, "/") {
		return Ref{}, errors.New("want models:/name@alias, models:/name/version or models:/m-id")
	}
	name, tail, slash := strings.Cut(body, "/")
	if !slash {
		if i := strings.LastIndexByte(body, '@'); i >= 0 {
			return aliasRef(body[:i], body[i+1:])
		}
		if strings.HasPrefix(body, "m-") && len(body) > 2 {
			return Ref{Kind: KindLoggedModel, ID: body}, nil
		}
		return Ref{}, errors.New("name a version or an alias: models:/name/3 or models:/name@alias")
	}
	if name == "" || tail == "" || strings.Contains(tail, "/") {
		return Ref{}, errors.New("want models:/name/version")
	}
	return versionRef(name, tail), checkName(name)
}

func aliasRef(name, alias string) (Ref, error) {
	if alias == "" || strings.ContainsAny(alias, "@:") {
		return Ref{}, errors.New("the alias is empty or malformed")
	}
	if strings.EqualFold(alias, "latest") {
		return Ref{Kind: KindLatest, Name: name}, checkName(name)
	}
	return Ref{Kind: KindAlias, Name: name, Alias: alias}, checkName(name)
}

func versionRef(name, tail string) Ref {
	if n, err := strconv.ParseUint(tail, 10, 63); err == nil {
		return Ref{Kind: KindVersion, Name: name, Version: strconv.FormatUint(n, 10)}
	}
	if strings.EqualFold(tail, "latest") {
		return Ref{Kind: KindLatest, Name: name}
	}
	for _, stage := range []string{"None", "Staging", "Production", "Archived"} {
		if strings.EqualFold(tail, stage) {
			tail = stage
		}
	}
	return Ref{Kind: KindStage, Name: name, Stage: tail}
}

// checkName holds MLflow's own rule for the names of registered models.
func checkName(name string) error {
	if name == "" || strings.ContainsAny(name, "/:") {
		return fmt.Errorf("the model's name %q is empty or holds a slash or colon", name)
	}
	return nil
}

func parseRuns(rest string) (Ref, error) {
	body, ok := strings.CutPrefix(rest, "/")
	id, p, slash := strings.Cut(body, "/")
	if !ok || id == "" || !slash || p == "" {
		return Ref{}, errors.New("want runs:/run_id/path/of/the/model")
	}
	if err := checkPath(p); err != nil {
		return Ref{}, err
	}
	return Ref{Kind: KindRun, ID: id, Path: path.Clean(p)}, nil
}

// localPath turns a file: URI into a path.
func localPath(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil {
		return "", errors.New("malformed file: address")
	}
	if u.Host != "" && u.Host != "localhost" {
		return "", fmt.Errorf("file: names another host, %q", u.Host)
	}
	p := u.Path
	if p == "" {
		p = u.Opaque
	}
	if p == "" || strings.ContainsFunc(p, isControl) {
		return "", errors.New("file: names no path, or one with control characters")
	}
	return filepath.Clean(filepath.FromSlash(p)), nil
}

// String gives the reference back in its usual form.
func (r Ref) String() string {
	switch r.Kind {
	case KindAlias:
		return "models:/" + r.Name + "@" + r.Alias
	case KindVersion:
		return "models:/" + r.Name + "/" + r.Version
	case KindLatest:
		return "models:/" + r.Name + "/latest"
	case KindStage:
		return "models:/" + r.Name + "/" + r.Stage
	case KindLoggedModel:
		return "models:/" + r.ID
	case KindRun:
		return "runs:/" + r.ID + "/" + r.Path
	case KindFolder:
		if strings.Contains(r.Path, ":") && !filepath.IsAbs(r.Path) {
			return "./" + r.Path // else its start could read as a scheme
		}
	}
	return r.Path
}

// checkPath refuses the path of an artifact that would leave its folder.
func checkPath(p string) error {
	if strings.Contains(p, `\`) || strings.ContainsRune(p, 0) || !filepath.IsLocal(filepath.FromSlash(p)) {
		return fmt.Errorf("path %q leads out of its folder", p)
	}
	for seg := range strings.SplitSeq(p, "/") {
		if seg == ".." {
			return fmt.Errorf("path %q leads out of its folder", p)
		}
	}
	return nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }
