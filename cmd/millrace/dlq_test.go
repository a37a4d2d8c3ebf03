package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/bundled"
	"github.com/millrace/millrace/dlq"
	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/model"
)

// Requests for a model that is not served are refused, inspected, put back, and
// refused again, under a name that leads to the first.
func TestDeadLettersThroughUp(t *testing.T) {
	s := startUp(t, home(t), "--kafka-port", "0")
	broker := []string{"MILLRACE_KAFKA_BROKERS=" + s.broker}
	h := func(key, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: key, Value: []byte(value)} }
	lost := s.ask(t, &kgo.Record{Key: []byte("lost"), Value: []byte(window(0)), Headers: []kgo.RecordHeader{
		h(wire.Model, "fraud@champion"), h(wire.CorrelationID, "c-1"), h(wire.ExpiryTime, time.Now().Add(2*time.Minute).Format(time.RFC3339)),
	}})
	bad := s.ask(t, &kgo.Record{Key: []byte("bad"), Value: []byte{0xff, 0x00, 0x1b}, Headers: []kgo.RecordHeader{h("x\x1b[2J", "y\nz")}})
	first(t, s.broker, dead, func(r *kgo.Record) bool { return string(r.Key) == "lost" })
	first(t, s.broker, dead, func(r *kgo.Record) bool { return string(r.Key) == "bad" })

	text := tool(t.Context(), broker, "", "dlq", "inspect")
	require.Zero(t, text.code, text.err)
	require.Contains(t, text.out, "2 dead letters in dlq.inference.requests, refused from ")
	require.Regexp(t, `(?m)^MODEL_NOT_FOUND +1 +0$`, text.out)
	require.Regexp(t, `(?m)^fraud@champion \(not reached\) +1 +0$`, text.out)
	require.Regexp(t, `(?m)^`+bundled.Name+`/\w+ +1 +0$`, text.out)
	require.Regexp(t, `(?m)^\d{4}-\d\d-\d\d \d\d:\d\d +[12] +0$`, text.out)
	require.Contains(t, text.out, "  request      "+lost+"\n")
	require.Contains(t, text.out, "  payload, 3 bytes\n    00000000  ff 00 1b")
	require.Contains(t, text.out, `  header       "x\x1b[2J"="y\nz"`, "a client does not steer the terminal")
	require.NotContains(t, text.out, "\x1b")

	one := tool(t.Context(), broker, "", "dlq", "inspect", "--show", lost, "-o", "json")
	var got dlqSummary
	require.NoError(t, json.Unmarshal([]byte(one.out), &got), one.out)
	require.Equal(t, 1, got.Letters)
	require.Equal(t, []string{lost, "MODEL_NOT_FOUND", window(0)}, []string{got.Records[0].Request, got.Records[0].Code, *got.Records[0].Payload})
	require.WithinDuration(t, time.Now(), *got.Records[0].Asked, time.Minute)

	only := []string{"dlq", "replay", "--code", "model_not_found", "--model", "fraud", "--since", "1h"}
	dry := tool(t.Context(), broker, "", append(only, "--dry-run")...)
	require.Zero(t, dry.code, dry.err)
	require.Contains(t, dry.out, got.Records[0].ID+"  ")
	require.Contains(t, dry.out, "MODEL_NOT_FOUND  "+lost+" -> inference.requests\n1 request would be replayed, of 1 dead letter picked\n")

	sent := tool(t.Context(), broker, "", only...)
	require.Zero(t, sent.code, sent.err)
	require.Equal(t, "1 request replayed, of 1 dead letter picked\n", sent.out)
	answer := first(t, s.broker, results, func(r *kgo.Record) bool { return header(r, wire.OriginalID) == lost })
	require.NotEqual(t, lost, header(answer, wire.ID))
	require.Equal(t, []string{"c-1", string(model.NotFound)}, []string{header(answer, wire.CorrelationID), header(answer, wire.Status)})

	again := first(t, s.broker, dead, func(r *kgo.Record) bool { return header(r, wire.OriginalID) == lost })
	shown := tool(t.Context(), broker, "", "dlq", "inspect", "--records", "9")
	require.Contains(t, shown.out, "1 of them replayed")
	require.Contains(t, shown.out, "  replayed as  "+header(answer, wire.ID)+"\n")
	require.Contains(t, shown.out, "  original     "+lost+"\n")
	sent = tool(t.Context(), broker, "", only...)
	require.Equal(t, "1 request replayed, of 2 dead letters picked\n  1 not sent: replayed before\n", sent.out, "the second refusal, at %d", again.Offset)

	none := tool(t.Context(), broker, "", "dlq", "inspect", "--id", "inference.requests/0/999")
	require.Zero(t, none.code)
	require.Equal(t, "no such dead letter in dlq.inference.requests\n", none.out)
	require.NotEmpty(t, bad)
}

func TestDeadLetterFlagsThatAreWrong(t *testing.T) {
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"inspect", "--code", "OOPS"}, `--code: "OOPS" is none of INVALID_INPUT UNSUPPORTED_MEDIA_TYPE`},
		{[]string{"inspect", "--since", "yesterday"}, `--since: "yesterday" is neither how long ago`},
		{[]string{"inspect", "--since", "-2h"}, `--since: "-2h" is neither`},
		{[]string{"inspect", "--since", "1h", "--until", "2h"}, "--until: not after --since"},
		{[]string{"inspect", "--offset", "3"}, "--offset: say in which --partition"},
		{[]string{"inspect", "--partition", "-1"}, "--partition: -1 is below 0"},
		{[]string{"inspect", "--id", "3/17"}, `--id: "3/17" is not topic/partition/offset`},
		{[]string{"inspect", "--show", "a/1/1", "--id", "a/1/1"}, "give one of them"},
		{[]string{"inspect", "--records", "-1"}, "must not be below 0"},
		{[]string{"inspect", "--output", "xml"}, "neither text nor json"},
		{[]string{"inspect", "now"}, "takes no argument"},
		{[]string{"replay", "--rate", "-1"}, "--rate and --limit"},
		{[]string{"replay", "--rate", "NaN"}, "--rate and --limit"},
		{[]string{"replay", "--brokers", "here"}, `MILLRACE_KAFKA_BROKERS: "here" is not host:port`},
		{[]string{"reply"}, `unknown command "reply"`},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			got := tool(t.Context(), nil, "", append([]string{"dlq"}, c.args...)...)
			require.Equal(t, exitUsage, got.code, got.err)
			require.Contains(t, got.err, c.says)
		})
	}
}

func TestWhatDeadLettersLack(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	require.NoError(t, err)
	defer cluster.Close()
	for _, args := range [][]string{{"dlq", "inspect"}, {"dlq", "replay"}, {"dlq", "replay", "--dry-run"}} {
		got := tool(t.Context(), []string{"MILLRACE_KAFKA_BROKERS=" + cluster.ListenAddrs()[0]}, "", append(args, "--topic", "elsewhere")...)
		require.Equal(t, exitFailed, got.code)
		require.Contains(t, got.err, "elsewhere: there is no such topic: the dead-letter topic is named by --topic or MILLRACE_TOPIC_DLQ")
	}
}

func TestWhen(t *testing.T) {
	now := time.Date(2026, 7, 8, 9, 10, 11, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"":                          {},
		"0s":                        now,
		"2h":                        now.Add(-2 * time.Hour),
		"1h30m":                     now.Add(-90 * time.Minute),
		"7d":                        now.AddDate(0, 0, -7),
		"0.5d":                      now.Add(-12 * time.Hour),
		"2026-07-01":                time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC),
		"2026-07-01T10:00:00Z":      time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC),
		"2026-07-01T10:00:00+02:00": time.Date(2026, 7, 1, 8, 0, 0, 0, time.UTC),
	} {
		got, err := parseWhen(text, now)
		require.NoError(t, err, text)
		require.True(t, want.Equal(got), "%s: %s", text, got)
	}
	for _, text := range []string{"-1d", "1e9d", "Infd", "d", "2026-07-01 10:00", "10:00"} {
		_, err := parseWhen(text, now)
		require.Error(t, err, text)
	}
}

func TestPayloadsAreShown(t *testing.T) {
	for name, c := range map[string]struct {
		value string
		limit int
		want  string
	}{
		"json":         {`{"a":[1]}`, 100, "{\n  \"a\": [\n    1\n  ]\n}"},
		"long json":    {"[" + strings.Repeat("1,", 99) + "1]", 1000, "[" + strings.Repeat("1,", 99) + "1]"},
		"cut json":     {`{"a":[1]}`, 4, "{\"a\"\n… 5 bytes more: --payload-bytes 0 shows them"},
		"text":         {"a,b\n1,2\n", 100, "a,b\n1,2\n"},
		"cut in ü":     {"aü", 2, "a\n… 1 byte more: --payload-bytes 0 shows them"},
		"binary":       {"\x00\x01", 100, "00000000  00 01                                             |..|\n"},
		"escape codes": {"a\x1b[2J", 100, "00000000  61 1b 5b 32 4a                                    |a.[2J|\n"},
		"nothing":      {"", 100, ""},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, payload([]byte(c.value), c.limit)) })
	}
}

func TestProgressIsToldAfterAWhile(t *testing.T) {
	var out buffer
	l := &progressLine{out: &out, begun: time.Now(), more: func() string { return "3 requests replayed" }}
	p := dlq.Progress{What: "replaying", Read: 5, Total: 10, Waiting: true}
	l.tell(p)
	require.Empty(t, out.String())
	l.begun = l.begun.Add(-time.Minute)
	l.tell(p)
	l.tell(p)
	const line = "replaying: 5 of 10 offsets, 3 requests replayed; a transaction that somebody has open is waited for"
	require.Equal(t, line+"\n", out.String())
	l.terminal = true
	l.tell(p)
	l.clear()
	require.Equal(t, line+"\n\r\x1b[K"+line+"\r\x1b[K", out.String())
}
