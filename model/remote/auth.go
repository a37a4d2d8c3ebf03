package remote

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

// reread is how long what a file said is held for true. A refusal by the
// endpoint has it read at once.
const reread = 10 * time.Second

// credentials make the Authorization header.
type credentials struct {
	fixed string // of the URL or the configuration; "" when it is in a file, or there is none
	file  string
	user  string // of a password file; "" for a token's

	mu    sync.Mutex // guards what follows
	value string
	read  time.Time
}

func newCredentials(cfg Config, user *url.Userinfo) *credentials {
	switch password, _ := user.Password(); {
	case user != nil:
		return &credentials{fixed: basic(user.Username(), password)}
	case cfg.TokenFile != "":
		return &credentials{file: cfg.TokenFile}
	case cfg.PasswordFile != "":
		return &credentials{file: cfg.PasswordFile, user: cfg.Username}
	case cfg.Username != "":
		return &credentials{fixed: basic(cfg.Username, cfg.Password)}
	case cfg.Token != "":
		return &credentials{fixed: "Bearer " + cfg.Token}
	}
	return &credentials{}
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// header is the Authorization header, "" for none. fresh has a file read now. A
// file that cannot be read any more leaves what it said last.
func (c *credentials) header(fresh bool) (string, error) {
	if c.file == "" {
		return c.fixed, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !fresh && c.value != "" && time.Since(c.read) < reread {
		return c.value, nil
	}
	text, err := secretOf(c.file)
	switch {
	case err == nil && c.user != "":
		c.value, c.read = basic(c.user, text), time.Now()
	case err == nil:
		c.value, c.read = "Bearer "+text, time.Now()
	case c.value == "":
		return "", fmt.Errorf("credentials: %w", err)
	}
	return c.value, nil
}

// secretOf reads the one line that a file of a secret holds.
func secretOf(path string) (string, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the user's own file
	if err != nil {
		return "", err
	}
	secret := strings.TrimSpace(string(text))
	if secret == "" || strings.ContainsFunc(secret, isControl) {
		return "", errors.New(path + " is empty or holds more than one line")
	}
	return secret, nil
}
