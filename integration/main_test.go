//go:build integration

package integration

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMain sees to it that no server outlives the tests, also when they are
// interrupted or run out of time: a panic on time-out would end no process.
func TestMain(m *testing.M) {
	flag.Parse()
	limit, err := time.ParseDuration(flag.Lookup("test.timeout").Value.String())
	if err == nil && limit > time.Minute {
		time.AfterFunc(limit-20*time.Second, func() {
			fmt.Fprintln(os.Stderr, "integration: out of time")
			processes.killAll()
			os.Exit(1)
		})
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-stop
		processes.killAll()
		os.Exit(130)
	}()
	code := m.Run()
	processes.killAll()
	os.Exit(code)
}

// root is the checkout's directory.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("..")
	require.NoError(t, err)
	return dir
}

// fetched runs a script that fetches something and prints where it is.
func fetched(t *testing.T, script string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(root(t), "scripts", script), args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err, script)
	return strings.TrimSpace(string(out))
}

// logDir is where the logs of a test's processes are. They are kept until the
// test runs again.
func logDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(root(t), ".build", "integration", strings.ReplaceAll(t.Name(), "/", "_"))
	require.NoError(t, os.MkdirAll(dir, 0o750))
	return dir
}
