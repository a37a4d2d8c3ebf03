package pyfunc

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain makes a stand-in of the test binary when it is started as one: a
// program that speaks the scorer's protocol and does what bodies say.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "standin" {
		standin()
		return
	}
	if len(os.Args) == 2 && os.Args[1] == "grandchild" {
		time.Sleep(time.Minute) // it ends with nothing but a signal
		return
	}
	goleak.VerifyTestMain(m)
}

func standinCommand() *exec.Cmd {
	return &exec.Cmd{Path: os.Args[0], Args: []string{os.Args[0], "standin"}}
}

// standinFrame is a frame from here: readFrame and writeFrame are the other end.
func standinFrame(conn net.Conn, header any) (parts []string, ok bool) {
	var lengths [prefix]byte
	if _, err := io.ReadFull(conn, lengths[:]); err != nil {
		return nil, false
	}
	head, body := make([]byte, binary.BigEndian.Uint32(lengths[:])), make([]byte, binary.BigEndian.Uint32(lengths[4:]))
	if _, err := io.ReadFull(conn, head); err != nil {
		return nil, false
	}
	if _, err := io.ReadFull(conn, body); err != nil {
		return nil, false
	}
	var sized struct {
		Sizes []int `json:"sizes"`
	}
	if json.Unmarshal(head, header) != nil || json.Unmarshal(head, &sized) != nil {
		return nil, false
	}
	for _, n := range sized.Sizes {
		parts, body = append(parts, string(body[:n])), body[n:]
	}
	return parts, true
}

func say(conn net.Conn, r reply, parts ...string) {
	r.Sizes = sizes(parts)
	_ = writeFrame(conn, r, parts)
}

// forever waits until the parent lets go.
func forever() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

func standin() {
	go forever()
	file := os.NewFile(3, "parent")
	conn, err := net.FileConn(file)
	if err != nil {
		os.Exit(9)
	}
	_ = file.Close()
	var s settings
	examples, ok := standinFrame(conn, &s)
	if !ok {
		return
	}
	standinLoad(conn, &s, examples)
	for {
		var q question
		bodies, ok := standinFrame(conn, &q)
		if !ok {
			return
		}
		for i, body := range bodies {
			if s := standinDo(conn, &q, body, i); s != "" {
				say(conn, reply{Call: q.Call, Rows: []int{i}, Status: []string{s}, Fields: []string{"f"}}, fmt.Sprintf("%s of %d", body, len(bodies)))
			}
		}
		say(conn, reply{Call: q.Call, End: true})
	}
}

// standinLoad does what the model's folder is called. Starts are counted in a
// file there.
func standinLoad(conn net.Conn, s *settings, examples []string) {
	starts, _ := os.ReadFile(filepath.Join(s.Model, "starts"))
	_ = os.WriteFile(filepath.Join(s.Model, "starts"), append(starts, '.'), 0o600)
	switch name := filepath.Base(s.Model); {
	case name == "slow":
		<-make(chan int)
	case name == "exit":
		fmt.Fprintln(os.Stderr, "Traceback: no such thing")
		os.Exit(1)
	case name == "refused":
		say(conn, reply{Failed: "there is no mlflow: install it"})
		<-make(chan int)
	case name == "garbage":
		_, _ = conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
		<-make(chan int)
	case name == "broken later" && len(starts) > 0 && len(starts) < 3:
		os.Exit(1)
	}
	say(conn, reply{Loaded: &about{MLflow: "3", Python: strings.Join(examples, ","), Batches: s.Batch}})
}

// standinDo does what a body says and returns the status of its answer, "" for
// none.
func standinDo(conn net.Conn, q *question, body string, i int) string {
	word, rest, _ := strings.Cut(body, " ")
	switch word {
	case "refuse":
		return "INVALID_INPUT"
	case "crash":
		os.Exit(3)
	case "crash-in-company":
		if !q.Alone {
			os.Exit(3)
		}
	case "hang":
		<-make(chan int)
	case "few":
		return ""
	case "twice":
		say(conn, reply{Call: q.Call, Rows: []int{i}, Status: []string{"ok"}, Fields: []string{""}}, "first")
	case "other":
		say(conn, reply{Call: q.Call, Rows: []int{99}, Status: []string{"ok"}, Fields: []string{""}}, "")
	case "noise":
		_, _ = conn.Write([]byte("\x00\x00\x00\x02\x00\x00\x00\x00{]"))
	case "huge":
		_, _ = conn.Write(bytes.Repeat([]byte{0xff}, prefix))
	case "flood":
		for n := range 5000 {
			fmt.Println("line", n)
		}
		fmt.Fprintln(os.Stderr, strings.Repeat("x", 3*longestLine))
	case "leak":
		n, _ := strconv.Atoi(rest)
		leaked = append(leaked, bytes.Repeat([]byte{1}, n))
	case "child": // which would live on
		cmd := &exec.Cmd{Path: os.Args[0], Args: []string{os.Args[0], "grandchild"}}
		if cmd.Start() == nil {
			_ = os.WriteFile(rest, []byte(strconv.Itoa(cmd.Process.Pid)), 0o600)
		}
	}
	return "ok"
}

var leaked [][]byte
