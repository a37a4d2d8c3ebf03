package onnx_test

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// fetch runs the script with only the named tools and stand-ins on its path.
func fetch(t *testing.T, script string, clients map[string]string, args ...string) (string, error) {
	t.Helper()
	tools := t.TempDir()
	for _, name := range []string{"sh", "sha256sum", "shasum", "perl", "cut", "mktemp", "rm", "mv", "mkdir", "dirname", "chmod", "cat", "tar", "gzip", "cp"} {
		if path, err := exec.LookPath(name); err == nil {
			require.NoError(t, os.Symlink(path, filepath.Join(tools, name)))
		}
	}
	clients = maps.Clone(clients)
	if clients == nil {
		clients = map[string]string{}
	}
	if clients["uname"] == "" {
		clients["uname"] = uname("Linux", "x86_64")
	}
	for name, text := range clients {
		require.NoError(t, os.WriteFile(filepath.Join(tools, name), []byte("#!/bin/sh\n"+text), 0o700))
	}
	cmd := exec.CommandContext(t.Context(), "/bin/sh", append([]string{script}, args...)...)
	cmd.Env = []string{"PATH=" + tools}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

const script = "../../scripts/fetch-onnxruntime.sh"

// pinned is the script with every pin replaced by that of content.
func pinned(t *testing.T, content string) string {
	t.Helper()
	text, err := os.ReadFile(script)
	require.NoError(t, err)
	sum := sha256.Sum256([]byte(content))
	text = regexp.MustCompile(`\b[0-9a-f]{64}\b`).ReplaceAll(text, []byte(hex.EncodeToString(sum[:])))
	path := filepath.Join(t.TempDir(), "fetch.sh")
	require.NoError(t, os.WriteFile(path, text, 0o600))
	return path
}

func uname(system, machine string) string {
	return "case $1 in -s) echo " + system + " ;; -m) echo " + machine + " ;; esac"
}

// npm is a stand-in for it that packs content under every name a platform has.
func npm(content string) string {
	return `mkdir -p package/bin/napi-v6/linux/x64 package/bin/napi-v6/linux/arm64 package/bin/napi-v6/darwin/arm64
for f in linux/x64/libonnxruntime.so.1 linux/arm64/libonnxruntime.so.1 darwin/arm64/libonnxruntime.1.27.0.dylib; do
	echo '` + strings.TrimSuffix(content, "\n") + `' >package/bin/napi-v6/$f
done
tar -czf onnxruntime-node-1.27.0.tgz package`
}

func TestFetchScript(t *testing.T) {
	const content = "the library\n"
	target := func(t *testing.T) string {
		t.Helper()
		return filepath.Join(t.TempDir(), "bin", "libonnxruntime.so")
	}
	t.Run("fetched, then there already", func(t *testing.T) {
		file, sh := target(t), pinned(t, content)
		out, err := fetch(t, sh, map[string]string{"npm": npm(content)}, file)
		require.NoError(t, err, out)
		got, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, content, string(got))

		out, err = fetch(t, sh, nil, file)
		require.NoError(t, err, out)
		require.Contains(t, out, "is there already")
	})
	t.Run("wrong checksum refused", func(t *testing.T) {
		file, sh := target(t), pinned(t, content)
		out, err := fetch(t, sh, map[string]string{"npm": npm("something else")}, file)
		require.Error(t, err)
		require.Contains(t, out, "refused")
		require.NoFileExists(t, file)
		left, err := os.ReadDir(filepath.Dir(file))
		require.NoError(t, err)
		require.Empty(t, left, "nothing half-done is left behind")
	})
	t.Run("other file replaced", func(t *testing.T) {
		file, sh := target(t), pinned(t, content)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
		require.NoError(t, os.WriteFile(file, []byte("old"), 0o600))
		out, err := fetch(t, sh, map[string]string{"npm": npm(content)}, file)
		require.NoError(t, err, out)
		require.Contains(t, out, "will be replaced")
		got, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, content, string(got))
	})
	t.Run("client that fails is passed over", func(t *testing.T) {
		out, err := fetch(t, script, map[string]string{"npm": "exit 1", "pip3": "exit 1"}, target(t))
		require.Error(t, err)
		require.Contains(t, out, "npm gave nothing")
		require.Contains(t, out, "pypi gave nothing")
		require.Contains(t, out, "mvn is not here, skipped")
	})
	t.Run("no client", func(t *testing.T) {
		out, err := fetch(t, script, nil, target(t))
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit)
		require.Equal(t, 1, exit.ExitCode())
		lines := strings.Split(strings.TrimSpace(out), "\n")
		require.Contains(t, lines[len(lines)-1], "install npm, pip or mvn")
	})
	t.Run("other platforms", func(t *testing.T) {
		for _, platform := range [][2]string{{"Linux", "aarch64"}, {"Darwin", "arm64"}} {
			clients := map[string]string{"npm": npm(content), "uname": uname(platform[0], platform[1])}
			out, err := fetch(t, pinned(t, content), clients, target(t))
			require.NoError(t, err, out)
		}
		out, err := fetch(t, script, map[string]string{"uname": uname("Darwin", "x86_64")}, target(t))
		require.Error(t, err)
		require.Contains(t, out, "no package has a library for darwin-amd64")
	})
	t.Run("unknown source", func(t *testing.T) {
		out, err := fetch(t, script, nil, "--from", "elsewhere", target(t))
		require.Error(t, err)
		require.Contains(t, out, "--from takes npm, pypi or maven")
	})
}
