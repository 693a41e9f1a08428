#include "tokenizer/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/json.h"

namespace coldpress {
namespace {

using ::testing::HasSubstr;

Result<std::string> render(const std::string& source) {
  const Json chat = {
      {"messages", Json::array({{{"role", "user"}, {"content", "h\xc3\xa9 {{ 1 }}"}}})}};
  return render_chat({source, {{"bos_token", "<s>"}}, "model"}, chat);
}
std::string render_error(const std::string& source) {
  const auto r = render(source);
  return r.ok() ? "" : r.status().message();
}

TEST(ChatTemplate, WritesMessages) {
  EXPECT_EQ(render("{{ bos_token }}{%- for m in messages %}\n"
                   "[{{ m['role'] | upper }}] {{ m.content }}\n"
                   "{% endfor %}\n"
                   "{% if add_generation_prompt %}no{% endif %}")
                .value(),
            "<s>[USER] h\xc3\xa9 {{ 1 }}\n");
  EXPECT_EQ(render("{{ strftime_now('%d %b %Y') }}").value(), "26 Jul 2024");
}

TEST(ChatTemplate, BadOnesAreErrors) {
  EXPECT_THAT(render_error(""), HasSubstr("no chat template"));
  EXPECT_THAT(render_error("{% for %}"), HasSubstr("model: the chat template"));
  EXPECT_THAT(render_error("{{ raise_exception('roles must alternate') }}"),
              HasSubstr("roles must alternate"));
  EXPECT_THAT(render_error(std::string(2 << 20, 'x')), HasSubstr("bytes"));
}

// Whatever a template does, the caller goes on.
TEST(ChatTemplate, HostileOnesAreErrors) {
  EXPECT_NE(render_error("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"), "");
  EXPECT_NE(render_error(std::string("{{ ") + std::string(300000, '(') + " }}"), "");
  EXPECT_NE(render_error("{% for i in range(100000000000) %}x{% endfor %}"), "");
}

}  // namespace
}  // namespace coldpress
