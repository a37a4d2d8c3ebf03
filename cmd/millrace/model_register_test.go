package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// An init step runs at every start of the system, and must not take the alias back
// from the version that somebody promoted.
func TestRegisterBundledOnce(t *testing.T) {
	r := newFakeRegistry(t)
	tmp := t.TempDir()
	env := append(r.env(t), "TMPDIR="+tmp)
	args := []string{"model", "register", bundledRef, "--name", "forecaster", "--alias", "champion", "--once"}
	for range 2 {
		got := tool(t.Context(), env, "", args...)
		require.Zero(t, got.code, got.err)
		require.Regexp(t, `(?m)^version +1$`, got.out)
		require.Len(t, r.versions, 1)
	}
	require.Contains(t, r.files, "0/models/m-1/artifacts/MLmodel")
	left, err := os.ReadDir(tmp)
	require.NoError(t, err)
	require.Empty(t, left)

	got := tool(t.Context(), env, "", args[:len(args)-1]...)
	require.Zero(t, got.code, got.err)
	require.Len(t, r.versions, 2)
	require.Equal(t, map[string]string{"champion": "2"}, r.aliases)

	got = tool(t.Context(), []string{"MLFLOW_TRACKING_URI=" + r.URL, "TMPDIR=/dev/null"}, "", args[:len(args)-1]...)
	require.Equal(t, 1, got.code)
	require.Contains(t, got.err, "set TMPDIR")
	require.Len(t, r.versions, 2)
}
