// A file that a parser must refuse.
#pragma once

#include <string>

namespace coldpress::test {

struct Bad {
  const char* name;
  std::string bytes;
  const char* message;  // is in the error
};

}  // namespace coldpress::test
