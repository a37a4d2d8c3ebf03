// Command sbom lists what an image holds, as CycloneDX 1.6 in JSON: the binary's Go
// modules as the binary itself tells them, ONNX Runtime's library, and Debian's
// packages. The format: https://cyclonedx.org/docs/1.6/json/.
//
//	go run ./scripts/sbom --version 1.0.0 --arch amd64 --binary bin/millrace \
//	    --onnxruntime bin/libonnxruntime.so --script scripts/fetch-onnxruntime.sh --packages status.d
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
)

// image is what to describe.
type image struct {
	version, arch string // of the image
	binary        string // file
	library       string // file of ONNX Runtime
	script        string // that pins the library's version
	packages      string // folder of Debian's control files
}

func main() {
	var in image
	flag.StringVar(&in.version, "version", "dev", "of the image")
	flag.StringVar(&in.arch, "arch", "amd64", "of the image")
	flag.StringVar(&in.binary, "binary", "", "Go `file`")
	flag.StringVar(&in.library, "onnxruntime", "", "`file` of ONNX Runtime's library")
	flag.StringVar(&in.script, "script", "", "`file` that pins the library's VERSION")
	flag.StringVar(&in.packages, "packages", "", "`folder` of Debian's control files")
	flag.Parse()
	if err := write(os.Stdout, in); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

type bom struct {
	Format      string      `json:"bomFormat"`
	SpecVersion string      `json:"specVersion"`
	Version     int         `json:"version"`
	Metadata    metadata    `json:"metadata"`
	Components  []component `json:"components"`
}

type metadata struct {
	Component component `json:"component"`
}

type component struct {
	Type    string `json:"type"`
	Ref     string `json:"bom-ref"`
	Name    string `json:"name"`
	Version string `json:"version"`
	PURL    string `json:"purl,omitempty"`
	Hashes  []hash `json:"hashes,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

func write(w io.Writer, in image) error {
	binary, err := digest(in.binary)
	if err != nil {
		return err
	}
	out := bom{Format: "CycloneDX", SpecVersion: "1.6", Version: 1, Metadata: metadata{component{
		Type: "container", Ref: "millrace", Name: "millrace", Version: in.version, Hashes: binary,
	}}}
	info, err := buildinfo.ReadFile(in.binary)
	if err != nil {
		return err
	}
	onnxruntime, err := pinned(in)
	if err != nil {
		return err
	}
	packages, err := debian(in)
	if err != nil {
		return err
	}
	out.Components = slices.Concat(modules(info), []component{onnxruntime}, packages)
	slices.SortFunc(out.Components, func(a, b component) int { return cmp.Compare(a.Ref, b.Ref) })
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}

// modules are the Go modules and the Go version that the binary notes.
func modules(info *buildinfo.BuildInfo) []component {
	golang := strings.TrimPrefix(info.GoVersion, "go")
	list := []component{library("stdlib", golang, "pkg:golang/stdlib@"+golang)}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		list = append(list, library(m.Path, m.Version, "pkg:golang/"+strings.ToLower(m.Path)+"@"+url.PathEscape(m.Version)))
	}
	return list
}

// pinned is ONNX Runtime's library.
func pinned(in image) (component, error) {
	script, err := os.ReadFile(in.script)
	if err != nil {
		return component{}, err
	}
	match := regexp.MustCompile(`(?m)^VERSION=(\S+)$`).FindSubmatch(script)
	if match == nil {
		return component{}, fmt.Errorf("%s pins no VERSION", in.script)
	}
	version := string(match[1])
	c := library("onnxruntime", version, "pkg:pypi/onnxruntime@"+version)
	c.Hashes, err = digest(in.library)
	return c, err
}

// debian are the packages of control files, each as dpkg writes it: deb822.
func debian(in image) ([]component, error) {
	folder := os.DirFS(in.packages)
	files, err := fs.Glob(folder, "*")
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s holds no package", in.packages)
	}
	var list []component
	for _, file := range files {
		text, err := fs.ReadFile(folder, file)
		if err != nil {
			return nil, err
		}
		fields := map[string]string{}
		for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
			if name, value, ok := strings.Cut(lines.Text(), ": "); ok && !strings.HasPrefix(name, " ") {
				fields[name] = value
			}
		}
		name, version := fields["Package"], fields["Version"]
		if name == "" || version == "" {
			return nil, fmt.Errorf("%s names no Package and Version", file)
		}
		if arch := fields["Architecture"]; arch != in.arch {
			return nil, fmt.Errorf("%s is of %s, the image of %s", file, arch, in.arch)
		}
		list = append(list, library(name, version, "pkg:deb/debian/"+url.PathEscape(name)+"@"+url.PathEscape(version)+"?arch="+in.arch))
	}
	return list, nil
}

func library(name, version, purl string) component {
	return component{Type: "library", Ref: purl, Name: name, Version: version, PURL: purl}
}

func digest(file string) ([]hash, error) {
	f, err := os.Open(file) //nolint:gosec // named by whoever calls the program
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return nil, err
	}
	return []hash{{"SHA-256", hex.EncodeToString(h.Sum(nil))}}, nil
}
