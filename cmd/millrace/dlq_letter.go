package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/millrace/millrace/dlq"
)

// writeLetter prints one dead letter, of its payload no more than limit bytes.
func writeLetter(w io.Writer, l *dlq.Letter, limit int) error {
	b := new(strings.Builder)
	fmt.Fprintf(b, "dead letter %s\n", l.At)
	for _, f := range []fact{
		{"request", l.Request.String()},
		{"asked", stamp(l.Asked)},
		{"refused", stamp(l.Time)},
		{"code", l.Code},
		{"message", printable([]byte(l.Message))},
		{"model", strings.TrimSuffix(l.Model+"/"+l.Version, "/")},
		{"group", l.Group},
		{"deliveries", l.Tries},
		{"original", l.Original},
		{"replayed as", l.Replayed},
	} {
		if f.value != "" {
			fmt.Fprintf(b, "  %-12s %s\n", f.name, f.value)
		}
	}
	if l.Record.Key != nil {
		fmt.Fprintf(b, "  %-12s %s\n", "key", printable(l.Record.Key))
	}
	for _, h := range l.Headers {
		fmt.Fprintf(b, "  %-12s %s=%s\n", "header", printable([]byte(h.Key)), printable(h.Value))
	}
	switch {
	case l.Missing != "":
		fmt.Fprintf(b, "  no payload: %s\n", l.Missing)
	case l.Record.Value == nil:
		b.WriteString("  no payload: the request had none\n")
	default:
		fmt.Fprintf(b, "  payload, %s\n%s", plural(len(l.Record.Value), "byte"), indented(payload(l.Record.Value, limit)))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func indented(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n    ") + "\n"
}

// payload is a value to look at: JSON with indents, where that is not long, text
// as it is, anything else in hexadecimal.
func payload(value []byte, limit int) string {
	shown := value[:min(len(value), limit)]
	pretty := new(bytes.Buffer)
	text := hex.Dump(shown)
	switch {
	case len(shown) == len(value) && isText(value) && json.Indent(pretty, value, "", "  ") == nil && bytes.Count(pretty.Bytes(), []byte("\n")) <= prettyLines:
		text = pretty.String()
	case isText(value):
		text = strings.ToValidUTF8(string(shown), "")
	}
	if more := len(value) - len(shown); more > 0 {
		text = strings.TrimRight(text, "\n") + fmt.Sprintf("\n… %s more: --payload-bytes 0 shows them", plural(more, "byte"))
	}
	return text
}

// prettyLines is how many lines the indents of JSON may make.
const prettyLines = 60

func isText(value []byte) bool {
	return utf8.Valid(value) && !bytes.ContainsFunc(value, func(r rune) bool {
		return !unicode.IsPrint(r) && r != '\n' && r != '\t' && r != '\r'
	})
}

// printable keeps what a client wrote from steering a terminal.
func printable(value []byte) string {
	if isText(value) && !bytes.ContainsAny(value, "\r\n\t") {
		return string(value)
	}
	if utf8.Valid(value) {
		return strconv.Quote(string(value))
	}
	return "0x" + hex.EncodeToString(value)
}

// The form of `millrace dlq inspect --output json`.
type dlqSummary struct {
	Topic    string      `json:"topic"`
	Letters  int         `json:"letters"`
	Replayed int         `json:"replayed"`
	Missing  int         `json:"without_payload"`
	Other    int         `json:"other_records"`
	First    *time.Time  `json:"first,omitempty"`
	Last     *time.Time  `json:"last,omitempty"`
	Codes    []dlqCount  `json:"codes"`
	Models   []dlqCount  `json:"models"`
	Times    []dlqCount  `json:"times"`
	Bucket   float64     `json:"bucket_seconds,omitempty"`
	Records  []dlqLetter `json:"records"`
}

type dlqCount struct {
	Name     string     `json:"name,omitempty"`
	Start    *time.Time `json:"start,omitempty"`
	Letters  int        `json:"letters"`
	Replayed int        `json:"replayed"`
}

type dlqLetter struct {
	ID         string      `json:"id"`
	Request    string      `json:"request"`
	Asked      *time.Time  `json:"asked,omitempty"`
	Refused    *time.Time  `json:"refused,omitempty"`
	Code       string      `json:"code"`
	Message    string      `json:"message"`
	Model      string      `json:"model,omitempty"`
	Version    string      `json:"model_version,omitempty"`
	Group      string      `json:"group,omitempty"`
	Deliveries string      `json:"deliveries,omitempty"`
	Original   string      `json:"original,omitempty"`
	Replayed   string      `json:"replayed_as,omitempty"`
	Missing    string      `json:"no_payload,omitempty"`
	Key        *string     `json:"key,omitempty"`
	KeyBase64  string      `json:"key_base64,omitempty"`
	Headers    []dlqHeader `json:"headers"`
	Payload    *string     `json:"payload,omitempty"`        // when it is text
	Base64     string      `json:"payload_base64,omitempty"` // when it is not
	Bytes      int         `json:"payload_bytes"`            // of all of it
}

type dlqHeader struct {
	Key    string `json:"key"`
	Value  string `json:"value,omitempty"`
	Base64 string `json:"value_base64,omitempty"`
}

func summaryJSON(topic string, s *dlq.Summary, limit int) dlqSummary {
	out := dlqSummary{
		Topic: topic, Letters: s.Letters, Replayed: s.Replayed, Missing: s.Missing, Other: s.Other,
		First: moment(s.First), Last: moment(s.Last), Codes: countsJSON(s.Codes), Models: countsJSON(s.Models),
		Times: countsJSON(s.Times), Bucket: s.Bucket.Seconds(), Records: make([]dlqLetter, 0, len(s.Newest)),
	}
	for i := range s.Newest {
		out.Records = append(out.Records, letterJSON(&s.Newest[i], limit))
	}
	return out
}

func countsJSON(counts []dlq.Count) []dlqCount {
	out := make([]dlqCount, 0, len(counts))
	for _, c := range counts {
		out = append(out, dlqCount{c.Name, moment(c.Start), c.Letters, c.Replayed})
	}
	return out
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(t.UTC())
}

func letterJSON(l *dlq.Letter, limit int) dlqLetter {
	out := dlqLetter{
		ID: l.At.String(), Request: l.Request.String(), Asked: moment(l.Asked), Refused: moment(l.Time), Code: l.Code, Message: l.Message,
		Model: l.Model, Version: l.Version, Group: l.Group, Deliveries: l.Tries, Original: l.Original, Replayed: l.Replayed,
		Missing: l.Missing, Headers: make([]dlqHeader, 0, len(l.Headers)), Bytes: len(l.Record.Value),
	}
	out.Key, out.KeyBase64 = textOrBase64(l.Record.Key)
	for _, h := range l.Headers {
		text, encoded := textOrBase64(h.Value)
		header := dlqHeader{Key: h.Key, Base64: encoded}
		if text != nil {
			header.Value = *text
		}
		out.Headers = append(out.Headers, header)
	}
	if v := l.Record.Value; utf8.Valid(v) {
		text, _ := textOrBase64(v)
		if text != nil && len(*text) > limit {
			*text = strings.ToValidUTF8((*text)[:limit], "")
		}
		out.Payload = text
	} else {
		_, out.Base64 = textOrBase64(v[:min(len(v), limit)])
	}
	return out
}

// textOrBase64 is a value for JSON; nil is neither.
func textOrBase64(value []byte) (text *string, encoded string) {
	switch {
	case value == nil:
		return nil, ""
	case utf8.Valid(value):
		return new(string(value)), ""
	}
	return nil, base64.StdEncoding.EncodeToString(value)
}
