package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestModelAssign(t *testing.T) {
	env := []string{"MILLRACE_SPLIT=models:/forecaster@challenger=ASHARE"}
	require.Equal(t, exitUsage, tool(t.Context(), env, "", "model", "assign", "k").code)
	got := tool(t.Context(), nil, "", "model", "assign", "--split", "models:/forecaster@challenger=20", "user-1", "user-2")
	require.Zero(t, got.code, got.err)
	require.Equal(t, "KEY     VERSION OF                     BUCKET\nuser-1  models:/forecaster@challenger  818\nuser-2  -                              3452\n", got.out)
	got = tool(t.Context(), nil, "", "model", "assign", "--split", "models:/forecaster@challenger=0,models:/forecaster@next=100,models:/other@next=100", "user-1")
	require.Zero(t, got.code, got.err)
	require.Regexp(t, `user-1 +models:/forecaster@next +\d+\nuser-1 +models:/other@next +\d+\n$`, got.out)
	require.Contains(t, tool(t.Context(), nil, "", "model", "assign", "k").err, "MILLRACE_SPLIT: it is not set")
	require.Equal(t, exitUsage, tool(t.Context(), nil, "", "model", "assign").code)
}
