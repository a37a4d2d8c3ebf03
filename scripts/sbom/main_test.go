package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

// The test's own binary is one that Go built.
func example(t *testing.T) image {
	t.Helper()
	dir := t.TempDir()
	put := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o750))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	self, err := os.Executable()
	require.NoError(t, err)
	put("status.d/libc6", "Package: libc6\nVersion: 2.41-12+deb13u1\nArchitecture: arm64\nDescription: GNU C Library\n Version: no field\n")
	return image{
		version: "1.2.3", arch: "arm64", binary: self, library: put("library", "abc"),
		script: filepath.Join("..", "fetch-onnxruntime.sh"), packages: filepath.Join(dir, "status.d"),
	}
}

func TestListsModulesLibraryAndPackages(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, write(&b, example(t)))
	var out bom
	require.NoError(t, json.Unmarshal(b.Bytes(), &out))
	require.Equal(t, "CycloneDX", out.Format)
	require.Equal(t, "1.6", out.SpecVersion)
	require.Equal(t, "1.2.3", out.Metadata.Component.Version)
	byName := map[string]component{}
	refs := map[string]bool{}
	for _, c := range out.Components {
		require.False(t, refs[c.Ref], "%s is there twice, which CycloneDX forbids", c.Ref)
		require.NotEmpty(t, c.Version, c.Name)
		refs[c.Ref], byName[c.Name] = true, c
	}
	require.Equal(t, "pkg:deb/debian/libc6@2.41-12+deb13u1?arch=arm64", byName["libc6"].PURL)
	require.Regexp(t, `^pkg:pypi/onnxruntime@1\.\d+\.\d+$`, byName["onnxruntime"].PURL)
	require.Equal(t, []hash{{"SHA-256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}}, byName["onnxruntime"].Hashes)
	require.Regexp(t, `^pkg:golang/stdlib@1\.`, byName["stdlib"].PURL)
}

func TestModulesAreThoseThatWereLinked(t *testing.T) {
	list := modules(&buildinfo.BuildInfo{GoVersion: "go1.26.8", Deps: []*debug.Module{
		{Path: "example.org/A", Version: "v1.0.0+incompatible"},
		{Path: "example.org/b", Version: "v2.0.0", Replace: &debug.Module{Path: "example.org/fork", Version: "v2.0.1"}},
	}})
	require.Equal(t, []component{
		library("stdlib", "1.26.8", "pkg:golang/stdlib@1.26.8"),
		library("example.org/A", "v1.0.0+incompatible", "pkg:golang/example.org/a@v1.0.0+incompatible"),
		library("example.org/fork", "v2.0.1", "pkg:golang/example.org/fork@v2.0.1"),
	}, list)
}

func TestRefusesWhatIsIncomplete(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(*image)
		says  string
	}{
		"no binary":          {func(i *image) { i.binary = "nowhere" }, "nowhere"},
		"not Go's":           {func(i *image) { i.binary = i.library }, "unrecognized file format"},
		"no library":         {func(i *image) { i.library = "nowhere" }, "nowhere"},
		"no pin":             {func(i *image) { i.script = i.library }, "pins no VERSION"},
		"no packages":        {func(i *image) { i.packages = "nowhere" }, "holds no package"},
		"other architecture": {func(i *image) { i.arch = "amd64" }, "is of arm64, the image of amd64"},
		"not a control file": {func(i *image) {
			i.packages = filepath.Dir(i.library)
			_ = os.RemoveAll(filepath.Join(i.packages, "status.d"))
		}, "names no Package"},
	} {
		t.Run(name, func(t *testing.T) {
			in := example(t)
			tt.spoil(&in)
			require.ErrorContains(t, write(&bytes.Buffer{}, in), tt.says)
		})
	}
}
