/*
 * The physical limit: receives batches, answers each request with as many bytes as a tracker would, sends batches.
 * No tracker logic at all, so what a real tracker costs above this is its own. Linux, IPv4.
 * Refuses: to be right; its peers and counts mean nothing.
 *
 * Usage: echo PORT PEERS     (PEERS: compact peers in every announce answer)
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <endian.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCH = 256, SLOT = 2048, CONNECT = 0, ANNOUNCE = 1 };

static uint8_t in[BATCH][SLOT], out[BATCH][SLOT];
static struct sockaddr_in from[BATCH];
static struct iovec in_vector[BATCH], out_vector[BATCH];
static struct mmsghdr in_message[BATCH], out_message[BATCH];

static int open_socket(int port) {
  struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(port)};
  int bytes = 8 << 20, fd = socket(AF_INET, SOCK_DGRAM, 0);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
  here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (fd < 0 || bind(fd, (void *)&here, sizeof here) != 0) {
    perror("echo");
    exit(1);
  }
  return fd;
}

static size_t answer_bytes(uint32_t action, size_t asked, int peers) {
  if (action == CONNECT) return 16;
  if (action == ANNOUNCE) return 20 + 6 * (size_t)peers;
  return 8 + 12 * ((asked - 16) / 20);
}

int main(int count, char **arguments) {
  if (count != 3) {
    fprintf(stderr, "usage: echo PORT PEERS\n");
    return 64;
  }
  int fd = open_socket(atoi(arguments[1])), peers = atoi(arguments[2]);
  for (int i = 0; i < BATCH; i++) {
    in_vector[i] = (struct iovec){in[i], SLOT};
    out_vector[i] = (struct iovec){out[i], 0};
    in_message[i].msg_hdr =
        (struct msghdr){.msg_iov = &in_vector[i], .msg_iovlen = 1, .msg_name = &from[i]};
    out_message[i].msg_hdr = (struct msghdr){
        .msg_iov = &out_vector[i], .msg_iovlen = 1, .msg_name = &from[i], .msg_namelen = sizeof from[i]};
  }
  for (;;) {
    for (int i = 0; i < BATCH; i++) in_message[i].msg_hdr.msg_namelen = sizeof from[i];
    int n = recvmmsg(fd, in_message, BATCH, MSG_WAITFORONE, NULL), ready = 0;
    for (int i = 0; i < n; i++) {
      uint32_t action;
      if (in_message[i].msg_len < 16) continue;
      memcpy(&action, in[i] + 8, 4);
      memcpy(out[ready], &action, 4);
      memcpy(out[ready] + 4, in[i] + 12, 4);
      out_vector[ready].iov_len = answer_bytes(be32toh(action), in_message[i].msg_len, peers);
      out_message[ready].msg_hdr.msg_name = &from[i];
      ready++;
    }
    if (ready > 0) sendmmsg(fd, out_message, ready, 0);
  }
}
