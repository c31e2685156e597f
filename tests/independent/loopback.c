// Has a server listen on a free port of the loopback interface alone, whatever it asks for, and print the address that
// it got: `LD_PRELOAD=loopback.so server`. Built by `cc -shared -fPIC -o loopback.so loopback.c -ldl`.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <stdio.h>
#include <sys/socket.h>

typedef int (*binder)(int, const struct sockaddr *, socklen_t);

int bind(int socket, const struct sockaddr *asked, socklen_t size) {
  binder real = (binder)dlsym(RTLD_NEXT, "bind");
  if (asked->sa_family != AF_INET) return real(socket, asked, size);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  int result = real(socket, (struct sockaddr *)&address, length);
  if (result == 0 && getsockname(socket, (struct sockaddr *)&address, &length) == 0) {
    printf("http://127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
  }
  return result;
}
