package pyfunc

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

// A frame is two lengths of four bytes (big-endian), a header in JSON, and a
// body: parts of the header's sizes, one after the other. scorer/…/process.py is
// the other end.

// The most that a frame may hold: more is nonsense on the socket.
const (
	maxHeader = 64 << 20
	maxBody   = 1 << 30
	prefix    = 8 // bytes of the two lengths
)

// settings are the first frame, whose part is an example, if any.
type settings struct {
	Model    string `json:"model"`
	MaxRows  int    `json:"max_rows"`
	MaxBatch int    `json:"max_batch"`
	Batch    string `json:"batch"`
	Own      bool   `json:"own"` // the example is the model's own
	Sizes    []int  `json:"sizes"`
}

// question is a call, whose parts are the requests' bodies.
type question struct {
	Call  uint64   `json:"call"`
	Alone bool     `json:"alone"` // one by one, in their order
	Kinds []string `json:"kinds"`
	Sizes []int    `json:"sizes"`
}

// reply is what comes back: to settings Loaded or Failed, to a question the
// answers to some of its Rows, and in the end End.
type reply struct {
	Loaded *about `json:"loaded"`
	Failed string `json:"failed"`

	Call   uint64   `json:"call"`
	Rows   []int    `json:"rows"`
	Status []string `json:"status"`
	Fields []string `json:"fields"`
	Sizes  []int    `json:"sizes"`
	End    bool     `json:"end"`
}

// writeFrame sends a header, which holds the parts' sizes, and the parts.
func writeFrame(w io.Writer, header any, parts []string) error {
	head, err := json.Marshal(header)
	if err != nil {
		return err
	}
	size := 0
	for _, p := range parts {
		size += len(p)
	}
	if len(head) > maxHeader || size > maxBody {
		return fmt.Errorf("a call of %d bytes is more than %d", size, maxBody)
	}
	frame := make([]byte, prefix, prefix+len(head)+size)
	binary.BigEndian.PutUint32(frame, uint32(len(head))) //nolint:gosec // below maxHeader
	binary.BigEndian.PutUint32(frame[4:], uint32(size))
	frame = append(frame, head...)
	for _, p := range parts {
		frame = append(frame, p...)
	}
	_, err = w.Write(frame)
	return err
}

// readFrame receives a frame. Its parts are views of one memory.
func readFrame(r io.Reader) (*reply, []string, error) {
	var lengths [prefix]byte
	if _, err := io.ReadFull(r, lengths[:]); err != nil {
		return nil, nil, err
	}
	head, body := int64(binary.BigEndian.Uint32(lengths[:])), int64(binary.BigEndian.Uint32(lengths[4:]))
	if head > maxHeader || body > maxBody {
		return nil, nil, &callError{Confused, fmt.Sprintf("a frame of %d and %d bytes", head, body)}
	}
	var buf bytes.Buffer // which grows with what comes, not with what is promised
	if _, err := io.CopyN(&buf, r, head+body); err != nil {
		return nil, nil, err
	}
	rep := new(reply)
	if err := json.Unmarshal(buf.Next(int(head)), rep); err != nil {
		return nil, nil, &callError{Confused, fmt.Sprintf("a header that is not JSON: %v", err)}
	}
	text := buf.String()
	parts := make([]string, 0, len(rep.Sizes))
	for _, n := range rep.Sizes {
		if n < 0 || n > len(text) {
			return nil, nil, &callError{Confused, "parts that are not in the frame"}
		}
		parts, text = append(parts, text[:n]), text[n:]
	}
	return rep, parts, nil
}

func sizes(parts []string) []int {
	out := make([]int, len(parts))
	for i, p := range parts {
		out[i] = len(p)
	}
	return out
}
