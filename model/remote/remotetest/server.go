// Package remotetest is a small V2 server for tests. Its model tells which
// version answered.
package remotetest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// Server serves the model "affine": of X, FP32 of shape [-1, 4], it makes Y,
// FP32 of shape [-1, 2]: the row's sum, and the number of the version.
type Server struct {
	*httptest.Server

	// Fault, unless it is nil, sees each request first and says whether it has
	// answered it.
	Fault atomic.Pointer[func(w http.ResponseWriter, r *http.Request) bool]

	Inferences atomic.Int64 // that were answered with a prediction
	Largest    atomic.Int64 // rows of a call that was answered

	binary   bool
	maxBatch int // 0 for no bound

	mu       sync.Mutex
	versions []string // guarded by mu
}

// Options of [New].
type Options struct {
	Binary   bool     // the binary tensor extension
	MaxBatch int      // rows that are taken, 0 for any number
	Versions []string // as the metadata lists them
}

// New starts a server, which ends with the test.
func New(tb testing.TB, o Options) *Server {
	tb.Helper()
	s := &Server{binary: o.Binary, maxBatch: o.MaxBatch, versions: o.Versions}
	s.Server = httptest.NewServer(s)
	tb.Cleanup(s.Close)
	return s
}

// Ref is the reference of the model.
func (s *Server) Ref() string { return "v2+" + s.URL + "/affine" }

// Serve changes the versions.
func (s *Server) Serve(versions ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.versions = versions
}

// Break sets the fault, nil for none.
func (s *Server) Break(f func(w http.ResponseWriter, r *http.Request) bool) {
	if f == nil {
		s.Fault.Store(nil)
		return
	}
	s.Fault.Store(&f)
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f := s.Fault.Load(); f != nil && (*f)(w, r) {
		return
	}
	s.mu.Lock()
	versions := slices.Clone(s.versions)
	s.mu.Unlock()
	if r.URL.Path == "/v2" {
		extensions := []string{"classification"}
		if s.binary {
			extensions = append(extensions, "binary_tensor_data")
		}
		write(w, http.StatusOK, map[string]any{"name": "remotetest", "version": "1", "extensions": extensions})
		return
	}
	rest, ok := strings.CutPrefix(r.URL.Path, "/v2/models/affine")
	version := ""
	if len(versions) > 0 {
		version = versions[len(versions)-1]
	}
	if named, found := strings.CutPrefix(rest, "/versions/"); found {
		version, rest, _ = strings.Cut(named, "/")
		ok = ok && slices.Contains(versions, version)
	}
	if rest = strings.Trim(rest, "/"); !ok {
		write(w, http.StatusNotFound, map[string]string{"error": "Request for unknown model: " + r.URL.Path})
		return
	}
	switch rest {
	case "":
		tensor := func(name string, width int) any {
			return map[string]any{"name": name, "datatype": "FP32", "shape": []int{-1, width}}
		}
		write(w, http.StatusOK, map[string]any{
			"name": "affine", "versions": versions, "platform": "test",
			"inputs": []any{tensor("X", 4)}, "outputs": []any{tensor("Y", 2)},
		})
	case "ready":
		write(w, http.StatusOK, map[string]any{"name": "affine", "ready": true})
	case "infer":
		s.infer(w, r, version)
	default:
		http.NotFound(w, r)
	}
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

type tensor struct {
	Name       string         `json:"name"`
	Shape      []int          `json:"shape"`
	Datatype   string         `json:"datatype"`
	Parameters map[string]any `json:"parameters,omitempty"`
	Data       []float32      `json:"data,omitempty"`
}

func (s *Server) infer(w http.ResponseWriter, r *http.Request, version string) {
	x, err := s.read(r)
	if err == nil && s.maxBatch > 0 && x.Shape[0] > s.maxBatch {
		err = fmt.Errorf("inference request batch-size must be <= %d for 'affine'", s.maxBatch)
	}
	if err != nil {
		write(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return
	}
	k, _ := strconv.ParseFloat(version, 32)
	y := tensor{Name: "Y", Shape: []int{x.Shape[0], 2}, Datatype: "FP32"}
	for row := range x.Shape[0] {
		sum := float32(0)
		for _, f := range x.Data[4*row : 4*row+4] {
			sum += f
		}
		y.Data = append(y.Data, sum, float32(k))
	}
	s.Inferences.Add(1)
	for n := int64(x.Shape[0]); ; {
		if old := s.Largest.Load(); n <= old || s.Largest.CompareAndSwap(old, n) {
			break
		}
	}
	answer := map[string]any{"model_name": "affine", "model_version": version, "outputs": []*tensor{&y}}
	if !s.binary {
		write(w, http.StatusOK, answer)
		return
	}
	tail := new(bytes.Buffer)
	_ = binary.Write(tail, binary.LittleEndian, y.Data)
	y.Data, y.Parameters = nil, map[string]any{"binary_data_size": tail.Len()}
	head, _ := json.Marshal(answer)
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Inference-Header-Content-Length", strconv.Itoa(len(head)))
	_, _ = w.Write(append(head, tail.Bytes()...))
}

// read takes the input apart and holds it to the protocol.
func (s *Server) read(r *http.Request) (*tensor, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	head, tail := body, []byte(nil)
	if length := r.Header.Get("Inference-Header-Content-Length"); length != "" {
		n, err := strconv.Atoi(length)
		if err != nil || n > len(body) || !s.binary {
			return nil, fmt.Errorf("header length %q", length)
		}
		head, tail = body[:n], body[n:]
	}
	var in struct {
		Inputs []tensor `json:"inputs"`
	}
	if err := json.Unmarshal(head, &in); err != nil {
		return nil, err
	}
	if len(in.Inputs) != 1 || in.Inputs[0].Name != "X" || len(in.Inputs[0].Shape) != 2 || in.Inputs[0].Shape[1] != 4 {
		return nil, fmt.Errorf("inputs are %+v", in.Inputs)
	}
	x := &in.Inputs[0]
	if size, ok := x.Parameters["binary_data_size"].(float64); ok {
		if int(size) != len(tail) {
			return nil, fmt.Errorf("%d bytes follow, %v are said to", len(tail), size)
		}
		for ; len(tail) >= 4; tail = tail[4:] {
			x.Data = append(x.Data, math.Float32frombits(binary.LittleEndian.Uint32(tail)))
		}
	}
	if len(x.Data) != 4*x.Shape[0] {
		return nil, fmt.Errorf("%d numbers for shape %v", len(x.Data), x.Shape)
	}
	return x, nil
}
