package main

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
)

func TestTopicsAreCreatedAndChecked(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "inference.results"))
	require.NoError(t, err)
	defer c.Close()
	env := []string{"MILLRACE_KAFKA_BROKERS=" + c.ListenAddrs()[0], "MILLRACE_TOPIC_PARTITIONS=5", "MILLRACE_TOPIC_CANCELLATIONS=none"}

	got := tool(t.Context(), env, "", "topics", "check")
	require.Equal(t, exitFailed, got.code)
	require.Regexp(t, `(?m)^inference\.requests +missing`, got.out)
	require.Regexp(t, `(?m)^inference\.results +3 +1$`, got.out)
	require.Contains(t, got.err, "topics are missing: 'millrace topics create' creates them")

	for range 2 { // who creates them first does not matter
		got = tool(t.Context(), env, "", "topics", "create")
		require.Zero(t, got.code, got.err)
		require.Regexp(t, `(?m)^inference\.requests +5 +1$`, got.out)
		require.Regexp(t, `(?m)^inference\.results +3 +1$`, got.out, "what is there is left as it is")
		require.NotContains(t, got.out, "cancellations")
		require.NotContains(t, got.out, "shadow", "nothing has a shadow")
	}
	got = tool(t.Context(), append(env, "MILLRACE_SHADOW=models:/m@shadow"), "", "topics", "check")
	require.Equal(t, exitFailed, got.code)
	require.Regexp(t, `(?m)^inference\.shadow +missing`, got.out)
	require.Contains(t, got.err, "1 topics are missing")
}

func TestTopicsWithoutABroker(t *testing.T) {
	got := tool(t.Context(), nil, "", "topics", "create", "--brokers", "127.0.0.1:1", "--timeout", "300ms")
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.err, "not done within 300ms")
	require.Contains(t, got.err, "no broker answers")
}

func TestTopicsUsage(t *testing.T) {
	require.Contains(t, tool(t.Context(), nil, "", "topics").out, "topics create --brokers")
	for says, args := range map[string][]string{
		`unknown command "delete" for millrace topics`: {"topics", "delete"},
		"--timeout: 0s is not above zero":              {"topics", "check", "--timeout", "0s"},
		`"here" is not host:port`:                      {"topics", "check", "--brokers", "here"},
		"takes no argument":                            {"topics", "check", "all"},
	} {
		got := tool(t.Context(), nil, "", args...)
		require.Equal(t, exitUsage, got.code)
		require.Contains(t, got.err, says)
	}
}
