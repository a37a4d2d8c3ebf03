package mlflow

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// authorization is the header's value: of the configuration, then of the
// credentials file, then of the URI, then the token.
func authorization(cfg Config, u *url.URL) (string, error) {
	user, pass := cfg.Username, cfg.Password
	if (user == "" || pass == "") && cfg.CredentialsFile != "" {
		fileUser, filePass, err := readCredentials(cfg.CredentialsFile)
		if err != nil {
			return "", err
		}
		if user == "" {
			user = fileUser
		}
		if pass == "" {
			pass = filePass
		}
	}
	if user == "" && u.User != nil {
		user = u.User.Username()
		pass, _ = u.User.Password()
	}
	switch {
	case user != "" && pass != "":
		req := http.Request{Header: http.Header{}}
		req.SetBasicAuth(user, pass)
		return req.Header.Get("Authorization"), nil
	case cfg.Token != "":
		return "Bearer " + cfg.Token, nil
	}
	return "", nil
}

// readCredentials reads the section [mlflow] of MLflow's INI file. One that is
// not there is no error.
func readCredentials(path string) (user, pass string, err error) {
	text, err := os.ReadFile(path) //nolint:gosec // the user's own file
	if errors.Is(err, os.ErrNotExist) {
		return "", "", nil
	}
	if err != nil {
		return "", "", fmt.Errorf("read credentials: %w", err)
	}
	section := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = strings.Trim(line, "[]")
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || section != "mlflow" {
			continue
		}
		switch strings.TrimSpace(key) {
		case "mlflow_tracking_username":
			user = strings.TrimSpace(value)
		case "mlflow_tracking_password":
			pass = strings.TrimSpace(value)
		}
	}
	return user, pass, nil
}
