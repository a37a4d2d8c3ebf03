// Package compose tests compose.yaml with a Docker engine: make test-compose. Where no
// image can be pulled, standins.sh makes some.
package compose
