package auth

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
)

// tokens are those of a file. They are kept and looked up by their hash, so that
// how long a look-up takes tells nothing of a token.
type tokens struct {
	path   string
	log    *slog.Logger
	failed func()

	text  []byte // as last read; owned by who reads
	names atomic.Pointer[map[[sha256.Size]byte]string]
}

func (t *tokens) find(token string) (name string, ok bool) {
	name, ok = (*t.names.Load())[sha256.Sum256([]byte(token))]
	return name, ok
}

// reload reads the file again when it has changed. One that cannot be read leaves
// the last good one in force.
func (t *tokens) reload() {
	before := t.text
	if err := t.read(); err != nil {
		t.failed()
		t.log.Warn("the file of tokens cannot be read; the last good one holds", "path", t.path, "err", err)
		return
	}
	if !bytes.Equal(before, t.text) {
		t.log.Info("the file of tokens was read again", "path", t.path, "tokens", len(*t.names.Load()))
	}
}

func (t *tokens) read() error {
	text, err := os.ReadFile(t.path)
	if err != nil {
		return err
	}
	if t.names.Load() != nil && bytes.Equal(text, t.text) {
		return nil
	}
	names, err := parseTokens(text)
	if err != nil {
		return err
	}
	t.text = text
	t.names.Store(&names)
	return nil
}

// shortest is the length below which a token is guessed.
const shortest = 16

// parseTokens reads lines of a name and a token. Empty lines and those that begin
// with # are skipped. An error names the line and never its token.
func parseTokens(text []byte) (map[[sha256.Size]byte]string, error) {
	names := make(map[[sha256.Size]byte]string)
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		words := strings.Fields(line)
		if len(words) != 2 {
			return nil, fmt.Errorf("line %d: not a name and a token with a space between", n)
		}
		if len(words[1]) < shortest {
			return nil, fmt.Errorf("line %d: the token of %s has fewer than %d characters", n, words[0], shortest)
		}
		sum := sha256.Sum256([]byte(words[1]))
		if other, taken := names[sum]; taken {
			return nil, fmt.Errorf("line %d: %s and %s have the same token", n, other, words[0])
		}
		names[sum] = words[0]
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, errors.New("it holds no token")
	}
	return names, nil
}
