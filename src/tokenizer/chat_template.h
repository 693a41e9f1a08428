// Chats as a model's own template writes them: a Jinja program that comes with the model.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "io/json_type.h"

namespace coldpress {

struct ChatTemplate {
  std::string source;                                               // empty: the model has none
  std::vector<std::pair<std::string, std::string>> special_tokens;  // {"bos_token", "<s>"}, ...
  std::string where;                                                // the model, for errors
};

// `chat`: {"messages": [...]} and perhaps "tools". The text that transformers' apply_chat_template
// gives without a generation prompt, except that the date is always 26 July 2024: results must not
// depend on the day. Templates are programs from elsewhere, so they run in a process of their own
// with bounded time and memory.
Result<std::string> render_chat(const ChatTemplate& chat_template, const Json& chat);

}  // namespace coldpress
